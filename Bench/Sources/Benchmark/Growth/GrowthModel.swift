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

  /// What a node of one kind uses of a processor: something without any connection (probes, keep-alives, waking up), and
  /// something for each.
  public struct Cost: Sendable, Codable {
    /// Seconds in each second.
    public var base: Double
    /// Seconds for each connection.
    public var connection: Double

    public init(base: Double, connection: Double) {
      self.base = base
      self.connection = connection
    }

    /// Least squares through the use of a node at several rates; neither part is below 0.
    init(fitting points: [(rate: Double, use: Double)]) {
      let count = Double(max(1, points.count))
      let x = points.reduce(0) { $0 + $1.rate } / count
      let y = points.reduce(0) { $0 + $1.use } / count
      let covariance = points.reduce(0) { $0 + ($1.rate - x) * ($1.use - y) }
      let variance = points.reduce(0) { $0 + ($1.rate - x) * ($1.rate - x) }
      let slope = variance > 0 ? covariance / variance : 0
      if slope > 0, y - slope * x >= 0 {
        self.init(base: y - slope * x, connection: slope)
      } else {
        self.init(base: 0, connection: x > 0 ? y / x : 0)
      }
    }

    /// Connections per second that one node can do.
    func rate(_ capacity: Double) -> Double { connection > 0 ? max(0, capacity - base) / connection : .infinity }
  }

  /// The kinds of node; nil where an arrangement has none of its own.
  public struct Costs: Sendable, Codable {
    public var front: Cost?
    public var server: Cost
    public var dispatcher: Cost?

    public init(front: Cost?, server: Cost, dispatcher: Cost?) {
      self.front = front
      self.server = server
      self.dispatcher = dispatcher
    }
  }

  /// Seconds of processor time that a node has in each second.
  public var capacity: Double
  public var costs: [Arrangement: Costs]

  public init(capacity: Double, costs: [Arrangement: Costs]) {
    self.capacity = capacity
    self.costs = costs
  }

  /// Connections per second with so many server nodes: the least that servers, front and dispatcher allow.
  public func rate(_ arrangement: Arrangement, nodes: Int) -> Double {
    guard let costs = costs[arrangement] else { return 0 }
    return min(
      Double(nodes) * costs.server.rate(capacity), costs.front?.rate(capacity) ?? .infinity,
      costs.dispatcher?.rate(capacity) ?? .infinity)
  }

  /// The least number of server nodes with which one arrangement is ahead of another; nil up to `limit` nodes.
  public func crossover(of leader: Arrangement, over other: Arrangement, limit: Int = 64) -> Int? {
    (1...limit).first { rate(leader, nodes: $0) > rate(other, nodes: $0) }
  }
}
