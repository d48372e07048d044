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
  /// How many credits each should have, in the same places.
  private var sizes: [UInt32] = []
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
      sizes.append(contentsOf: repeatElement(0, count: BackEndSet.capacity))
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
      sizes[place * BackEndSet.capacity + backEnd] = 0
    }
    return gone
  }

  /// Every connection of a back-end is gone, and with it what was granted there.
  mutating func void(_ backEnd: Int) {
    terms[backEnd] &+= 1
    for place in 0..<held.count / BackEndSet.capacity { lost += UInt64(take(.max, at: place, backEnd)) }
  }

  mutating func countLease() { leases += 1 }

  /// Books at most `limit` credits, none while the peer has enough; nil for a peer that is no registered distributor.
  ///
  /// A distributor gets as many as it used up lately, and twice as many when it has none left. So few come back unused,
  /// and a busy one seldom asks. It has told what it used before it asks, so `held` is what it has left.
  mutating func grant(at backEnd: Int, to peer: PeerID, limit: UInt32, _ terms: LeaseTerms) -> UInt32? {
    guard let place = places[peer] else { return nil }
    let index = place * BackEndSet.capacity + backEnd
    let left = held[index]
    if left == 0 { sizes[index] = min(UInt32(terms.credits), max(1, 2 * sizes[index])) }
    // Seldom a few, rather than one with each decision.
    let credits = 2 * left <= sizes[index] ? min(sizes[index] - left, limit) : 0
    held[index] += credits
    outstanding += UInt64(credits)
    granted += UInt64(credits)
    return credits
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
    let index = place * BackEndSet.capacity + backEnd
    sizes[index] -= min(returned, sizes[index])
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
