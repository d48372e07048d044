// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// What a dispatcher's admin server answers, as JSON: `GET /dispatcher/why` and `GET /dispatcher/top`. Names of fields are
/// part of the interface: scripts read them.
public protocol AdminReport: Codable, Sendable {
  static var path: String { get }
}

extension AdminReport {
  public func json() -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // Every field is a number, a text or a list of them: encoding cannot fail.
    return (try? encoder.encode(self)) ?? Data("{}".utf8)
  }

  public init(json: Data) throws { self = try JSONDecoder().decode(Self.self, from: json) }
}

/// One server node as the dispatcher sees it.
public struct NodeReport: Codable, Sendable, Hashable {
  public var name: String
  /// up, draining or down.
  public var state: String
  /// Open connections and those on their way.
  public var connections: UInt64
  /// Connections per capacity, in those of an average node: what policies compare.
  public var load: Double
  public var weight: UInt64
  public var maximumConnections: UInt64
  public var pools: [String]
  /// Why it cannot take the request; nil when it can. In `top` always nil.
  public var excludedBecause: String?

  public init(
    name: String, state: String, connections: UInt64, load: Double, weight: UInt64, maximumConnections: UInt64,
    pools: [String], excludedBecause: String? = nil
  ) {
    self.name = name
    self.state = state
    self.connections = connections
    self.load = load
    self.weight = weight
    self.maximumConnections = maximumConnections
    self.pools = pools
    self.excludedBecause = excludedBecause
  }
}

/// Where a request would go now.
public struct WhyReport: AdminReport, Hashable {
  public static let path = "/dispatcher/why"

  /// The hash of path and query by which the dispatcher knows the target.
  public var target: String
  public var policy: String
  /// Position of the rule that the request meets, from 1; nil when it meets none.
  public var rule: Int?
  public var ruleName: String?
  /// Nil: every node.
  public var pool: String?
  /// client or cookie; nil when the policy alone decides.
  public var sticksBy: String?
  /// assigned, waits or no_back_end.
  public var outcome: String
  /// The node that would get it.
  public var node: String?
  /// The word under which the decision would be counted.
  public var reason: String?
  /// The reason as a sentence.
  public var because: String
  /// Nodes that the target is mapped to.
  public var replicas: [String]
  public var nodes: [NodeReport]
  /// Of all nodes that take new ones.
  public var connections: UInt64
  /// Nil: unlimited.
  public var admissionLimit: UInt64?

  public init(
    target: String, policy: String, rule: Int?, ruleName: String?, pool: String?, sticksBy: String?, outcome: String,
    node: String?, reason: String?, because: String, replicas: [String], nodes: [NodeReport], connections: UInt64,
    admissionLimit: UInt64?
  ) {
    self.target = target
    self.policy = policy
    self.rule = rule
    self.ruleName = ruleName
    self.pool = pool
    self.sticksBy = sticksBy
    self.outcome = outcome
    self.node = node
    self.reason = reason
    self.because = because
    self.replicas = replicas
    self.nodes = nodes
    self.connections = connections
    self.admissionLimit = admissionLimit
  }
}

/// What the dispatcher is busy with.
public struct TopReport: AdminReport, Hashable {
  public static let path = "/dispatcher/top"

  public struct Target: Codable, Sendable, Hashable {
    /// The hash of path and query.
    public var hash: String
    /// Decisions, halved each time that the hand of a full table passes.
    public var uses: UInt64
    public var replicas: [String]

    public init(hash: String, uses: UInt64, replicas: [String]) {
      self.hash = hash
      self.uses = uses
      self.replicas = replicas
    }
  }

  public var policy: String
  public var nodes: [NodeReport]
  public var hottest: [Target]
  /// Targets in the table, and how many it holds.
  public var targets: UInt64
  public var targetCapacity: UInt64
  /// Clients and sessions that stick to a node.
  public var ties: UInt64
  public var connections: UInt64
  /// Nil: unlimited.
  public var admissionLimit: UInt64?
  /// Requests that wait for room.
  public var queued: UInt64
  /// Requests so far, and how they were answered by reason; under `leased` those that distributors answered themselves.
  public var requests: UInt64
  public var decisions: [String: UInt64]

  public init(
    policy: String, nodes: [NodeReport], hottest: [Target], targets: UInt64, targetCapacity: UInt64, ties: UInt64,
    connections: UInt64, admissionLimit: UInt64?, queued: UInt64, requests: UInt64, decisions: [String: UInt64]
  ) {
    self.policy = policy
    self.nodes = nodes
    self.hottest = hottest
    self.targets = targets
    self.targetCapacity = targetCapacity
    self.ties = ties
    self.connections = connections
    self.admissionLimit = admissionLimit
    self.queued = queued
    self.requests = requests
    self.decisions = decisions
  }
}
