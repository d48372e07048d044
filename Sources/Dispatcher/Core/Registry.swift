// SPDX-License-Identifier: Apache-2.0

internal import ControlProtocol
public import Wire

/// Who belongs to the cluster: node names and their numbers, service addresses, and the view that everybody gets.
///
/// A name keeps its number as long as the dispatcher lives. When all 64 numbers are given away, the name that has been
/// down longest loses its number to the newcomer.
public struct Registry: Sendable {
  struct Member: Sendable {
    var name: String
    var instance: UInt64
    var registration: BackEndRegistration
    var presence: Presence
  }

  /// Whether a node has a control connection.
  enum Presence: Hashable, Sendable {
    case connected(PeerID)
    case away(since: UInt64)
  }

  private(set) var members: [Member] = []
  private var numbers: [String: Int] = [:]
  private var distributors: [(peer: PeerID, services: [Endpoint])] = []
  /// Grows by one with each change of what `view` shows.
  public private(set) var epoch: UInt64 = 0

  public init() {}

  func index(of name: String) -> Int? { numbers[name] }

  /// Enters a node under its name; nil when all numbers belong to connected nodes.
  mutating func register(
    name: String, instance: UInt64, registration: BackEndRegistration, peer: PeerID
  ) -> Int? {
    let member = Member(name: name, instance: instance, registration: registration, presence: .connected(peer))
    if let index = numbers[name] {
      members[index] = member
      return index
    }
    if members.count < BackEndSet.capacity {
      members.append(member)
      numbers[name] = members.count - 1
      return members.count - 1
    }
    guard let index = longestAway else { return nil }
    numbers[members[index].name] = nil
    members[index] = member
    numbers[name] = index
    return index
  }

  private var longestAway: Int? {
    var found: (index: Int, since: UInt64)?
    for index in members.indices {
      if case .away(let since) = members[index].presence, since < found?.since ?? .max { found = (index, since) }
    }
    return found?.index
  }

  mutating func leave(_ index: Int, now: UInt64) { members[index].presence = .away(since: now) }

  // MARK: Services

  /// False when the cluster would have more services than a view holds.
  mutating func setServices(_ services: [Endpoint], of peer: PeerID) -> Bool {
    var next = distributors.filter { $0.peer != peer }
    next.append((peer, services))
    guard Registry.merged(next).count <= ControlProtocolLimit.services else { return false }
    distributors = next
    return true
  }

  /// True when the peer had registered services.
  mutating func removeServices(of peer: PeerID) -> Bool {
    let before = distributors.count
    distributors.removeAll { $0.peer == peer }
    return distributors.count != before
  }

  /// All services of all live distributors, sorted, without duplicates.
  public var services: [Endpoint] { Registry.merged(distributors) }

  private static func merged(_ distributors: [(peer: PeerID, services: [Endpoint])]) -> [Endpoint] {
    var all = distributors.flatMap { $0.services }
    all.sort {
      ($0.address.high, $0.address.low, $0.port) < ($1.address.high, $1.address.low, $1.port)
    }
    var unique: [Endpoint] = []
    for service in all where unique.last != service { unique.append(service) }
    return unique
  }

  // MARK: View

  mutating func changed() { epoch += 1 }

  func view(_ loads: borrowing LoadBook) -> ClusterView {
    var backEnds: [BackEndDescription] = []
    backEnds.reserveCapacity(members.count)
    for index in members.indices {
      let member = members[index]
      backEnds.append(
        BackEndDescription(
          id: BackEndID(UInt16(index)), name: member.name, state: loads.state(index), instance: member.instance,
          registration: member.registration))
    }
    return ClusterView(epoch: epoch, backEnds: backEnds, services: services)
  }
}
