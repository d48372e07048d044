// SPDX-License-Identifier: Apache-2.0

/// How the dispatcher places a request: one value per policy, each a plain value in a file of its own.
public enum Policy: Sendable {
  case weightedRoundRobin(WeightedRoundRobin)
  case leastConnections(LeastConnections)
  case hash(HashPolicy)
  case boundedLoadHash(BoundedLoadHash)
  case lard(LARD)
  case replicatedLARD(ReplicatedLARD)
  case extendedLARD(ExtendedLARD)
  case anchoredLARD(AnchoredLARD)

  /// One request in the eyes of a policy.
  struct Request: BitwiseCopyable {
    /// Hash of the target, mixed with its pool.
    var target: UInt64
    /// Nodes that may take it: up, in the pool, not excluded, below their hard maximum. Never empty.
    var candidates: BackEndSet
    /// Nodes that are up and in the pool, though perhaps full or excluded.
    var eligible: BackEndSet
    var mapping: TargetTable.Mapping?
    var tick: UInt32
  }

  /// What a policy wants done. Choosing changes nothing, so that `explain` runs the same code.
  struct Choice: Hashable, BitwiseCopyable {
    var index: Int
    var reason: DecisionReason
    /// The mapping that the target shall have from now on; nil leaves it as it is.
    var mapping: TargetTable.Mapping?
  }

  /// The name in configuration, logs and metrics.
  public var name: PolicyName {
    switch self {
    case .weightedRoundRobin: .weightedRoundRobin
    case .leastConnections: .leastConnections
    case .hash: .hash
    case .boundedLoadHash: .boundedLoadHash
    case .lard: .lard
    case .replicatedLARD: .replicatedLARD
    case .extendedLARD: .extendedLARD
    case .anchoredLARD: .anchoredLARD
    }
  }

  /// The policy of that name with the constants of the papers.
  public init(_ name: PolicyName) {
    self =
      switch name {
      case .weightedRoundRobin: .weightedRoundRobin(WeightedRoundRobin())
      case .leastConnections: .leastConnections(LeastConnections())
      case .hash: .hash(HashPolicy())
      case .boundedLoadHash: .boundedLoadHash(BoundedLoadHash())
      case .lard: .lard(LARD())
      case .replicatedLARD: .replicatedLARD(ReplicatedLARD())
      case .extendedLARD: .extendedLARD(ExtendedLARD())
      case .anchoredLARD: .anchoredLARD(AnchoredLARD())
      }
  }

  /// Whether targets are remembered in the table.
  var usesTargetTable: Bool {
    switch self {
    case .lard, .replicatedLARD, .extendedLARD, .anchoredLARD: true
    case .weightedRoundRobin, .leastConnections, .hash, .boundedLoadHash: false
    }
  }

  @inline(__always)
  func choose(_ request: Request, _ loads: borrowing LoadBook) -> Choice {
    switch self {
    case .weightedRoundRobin(let policy): policy.choose(request, loads)
    case .leastConnections(let policy): policy.choose(request, loads)
    case .hash(let policy): policy.choose(request, loads)
    case .boundedLoadHash(let policy): policy.choose(request, loads)
    case .lard(let policy): policy.choose(request, loads)
    case .replicatedLARD(let policy): policy.choose(request, loads)
    case .extendedLARD(let policy): policy.choose(request, loads)
    case .anchoredLARD(let policy): policy.choose(request, loads)
    }
  }

  /// A choice was carried out; only the round robin remembers that.
  @inline(__always)
  mutating func commit(_ choice: Choice, _ request: Request, _ loads: borrowing LoadBook) {
    if case .weightedRoundRobin(var policy) = self {
      policy.commit(choice, request, loads)
      self = .weightedRoundRobin(policy)
    }
  }

  /// Weights or members changed.
  mutating func membershipChanged(_ weights: [HashRing.Member]) {
    switch self {
    case .hash(var policy):
      policy.ring = HashRing(weights)
      self = .hash(policy)
    case .boundedLoadHash(var policy):
      policy.ring = HashRing(weights)
      self = .boundedLoadHash(policy)
    case .weightedRoundRobin, .leastConnections, .lard, .replicatedLARD, .extendedLARD, .anchoredLARD: break
    }
  }
}

/// Policies by name.
public enum PolicyName: String, Hashable, Sendable, CaseIterable {
  case weightedRoundRobin = "wrr"
  case leastConnections = "least-connections"
  case hash
  case boundedLoadHash = "bounded-hash"
  case lard
  case replicatedLARD = "lard-r"
  case extendedLARD = "lard-extended"
  case anchoredLARD = "lard-anchored"
}

/// Why a node was chosen; every assignment is counted under exactly one.
public enum DecisionReason: UInt8, Hashable, Sendable, CaseIterable, BitwiseCopyable {
  /// The next node of the round.
  case rotated
  /// The least loaded node, of a policy that knows no targets.
  case leastLoaded
  /// The node that the hash names.
  case hashed
  /// The hash names a node that is down, excluded, full, or above its bound: the next one on the ring.
  case displaced
  /// A target not seen before, or forgotten: the least loaded node.
  case first
  /// A node to which the target is mapped.
  case mapped
  /// The target moved to the least loaded node, because its own is overloaded or out of balance.
  case moved
  /// The least loaded node joined the target's replica set.
  case replicated
  /// No node of the target can take connections any more: it begins anew.
  case orphaned
  /// The target's nodes refused this request or are full; the mapping stays.
  case avoided
  /// A later request of a persistent connection, served by the node that has the connection.
  case local
  /// A later request of a persistent connection, fetched from a node that caches the target.
  case forwarded
  /// The node that the client or session sticks to.
  case sticky

  public var name: String {
    switch self {
    case .rotated: "rotated"
    case .leastLoaded: "least_loaded"
    case .hashed: "hashed"
    case .displaced: "displaced"
    case .first: "first"
    case .mapped: "mapped"
    case .moved: "moved"
    case .replicated: "replicated"
    case .orphaned: "orphaned"
    case .avoided: "avoided"
    case .local: "local"
    case .forwarded: "forwarded"
    case .sticky: "sticky"
    }
  }
}
