// SPDX-License-Identifier: Apache-2.0

/// How connections per second grow with the number of server nodes when every node has the same processor capacity.
///
/// The shape is that of the USENIX 2000 paper (section 6): a single front is a bottleneck as soon as the server nodes
/// together can do more than it can pass on; distributors on every server node take a part of each node, but have no such
/// limit until the dispatcher is saturated.
public struct GrowthModel: Sendable, Codable {
  public enum Arrangement: String, Sendable, Codable, CaseIterable {
    /// One node hands connections over.
    case singleFront = "single front, handoff"
    /// Every server node hands connections over; the dispatcher has a node of its own.
    case distributedFront = "distributed front, handoff"
    /// One node relays.
    case relay = "relaying proxy"
  }

  /// Seconds of processor time for one connection, by where it is spent.
  public struct Costs: Sendable, Codable {
    /// On the node of the front; 0 where it shares the server nodes.
    public var front: Double
    /// On the server node.
    public var server: Double
    /// On the dispatcher's node.
    public var dispatcher: Double
  }

  /// Seconds of processor time that a node has in each second.
  public var capacity: Double
  public var costs: [Arrangement: Costs]

  /// Connections per second with so many server nodes: the least that servers, front and dispatcher allow.
  public func rate(_ arrangement: Arrangement, nodes: Int) -> Double {
    guard let costs = costs[arrangement] else { return 0 }
    let servers = Double(nodes) * capacity / max(costs.server, 1e-9)
    let front = costs.front > 0 ? capacity / costs.front : .infinity
    let dispatcher = costs.dispatcher > 0 ? capacity / costs.dispatcher : .infinity
    return min(servers, front, dispatcher)
  }

  /// The least number of server nodes with which one arrangement is ahead of another; nil up to `limit` nodes.
  public func crossover(of leader: Arrangement, over other: Arrangement, limit: Int = 64) -> Int? {
    (1...limit).first { rate(leader, nodes: $0) > rate(other, nodes: $0) }
  }
}
