// SPDX-License-Identifier: Apache-2.0

internal import ControlProtocol

/// Who holds how many credits at which back-end.
///
/// `granted == used + returned + lost + outstanding`.
public struct LeaseLedger: Sendable {
  /// Credits by what became of them.
  public private(set) var granted: UInt64 = 0
  public private(set) var used: UInt64 = 0
  public private(set) var returned: UInt64 = 0
  /// Their distributor or their back-end went away.
  public private(set) var lost: UInt64 = 0
  /// Credits that distributors have and have not accounted for.
  public private(set) var outstanding: UInt64 = 0
  /// Decisions that carried a lease.
  public private(set) var leases: UInt64 = 0
  /// Credits in accounts of a back-end's earlier process, of no lease, or beyond what was granted.
  public private(set) var unknown: UInt64 = 0

  /// Places of distributors: `BackEndSet.capacity` numbers each, by back-end.
  private var held: [UInt32] = []
  private var places: [PeerID: Int] = [:]
  private var freePlaces: [Int] = []
  private(set) var terms = [UInt32](repeating: 0, count: BackEndSet.capacity)

  public init() {}

  /// Distributor workers that may get leases.
  var distributors: Int { places.count }

  mutating func join(_ peer: PeerID) {
    guard places[peer] == nil else { return }
    if let free = freePlaces.popLast() {
      places[peer] = free
    } else {
      places[peer] = held.count / BackEndSet.capacity
      held.append(contentsOf: repeatElement(0, count: BackEndSet.capacity))
    }
  }

  /// A distributor is gone: what it held by back-end, which is lost.
  mutating func leave(_ peer: PeerID) -> [(backEnd: Int, credits: UInt32)] {
    guard let place = places.removeValue(forKey: peer) else { return [] }
    freePlaces.append(place)
    var gone: [(backEnd: Int, credits: UInt32)] = []
    for backEnd in 0..<BackEndSet.capacity {
      let credits = take(.max, at: place, backEnd)
      if credits > 0 { gone.append((backEnd, credits)) }
      lost += UInt64(credits)
    }
    return gone
  }

  /// Every connection of a back-end is gone, and with it what was granted there.
  mutating func void(_ backEnd: Int) {
    terms[backEnd] &+= 1
    for place in 0..<held.count / BackEndSet.capacity { lost += UInt64(take(.max, at: place, backEnd)) }
  }

  /// Books a lease; nil for a peer that is no registered distributor.
  mutating func grant(_ credits: UInt16, at backEnd: Int, to peer: PeerID, milliseconds: UInt16) -> Lease? {
    guard let place = places[peer] else { return nil }
    held[place * BackEndSet.capacity + backEnd] += UInt32(credits)
    outstanding += UInt64(credits)
    granted += UInt64(credits)
    leases += 1
    return Lease(credits: credits, milliseconds: milliseconds, term: terms[backEnd])
  }

  /// Takes an account, as far as it is about credits that the peer has.
  mutating func settle(_ account: LeaseAccount, of peer: PeerID) -> (used: UInt32, returned: UInt32) {
    let backEnd = Int(account.backEnd.rawValue)
    let told = UInt64(account.used) + UInt64(account.returned)
    guard let place = places[peer], backEnd < BackEndSet.capacity, terms[backEnd] == account.term else {
      unknown += told
      return (0, 0)
    }
    let used = take(UInt32(account.used), at: place, backEnd)
    let returned = take(UInt32(account.returned), at: place, backEnd)
    self.used += UInt64(used)
    self.returned += UInt64(returned)
    unknown += told - UInt64(used) - UInt64(returned)
    return (used, returned)
  }

  private mutating func take(_ credits: UInt32, at place: Int, _ backEnd: Int) -> UInt32 {
    let index = place * BackEndSet.capacity + backEnd
    let taken = min(credits, held[index])
    held[index] -= taken
    outstanding -= UInt64(taken)
    return taken
  }
}
