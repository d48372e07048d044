// SPDX-License-Identifier: Apache-2.0

public import ControlProtocol
public import Rules

/// Where a request would go now, and why: for `clusterctl why` and for tests.
public struct Explanation: Hashable, Sendable {
  public var policy: PolicyName
  public var verdict: Verdict
  /// The nodes to which the target is mapped, whatever their state.
  public var replicas: [BackEndID]
  public var candidates: [Candidate]
  /// Connections on eligible nodes, and the admission limit.
  public var connections: UInt64
  /// Connections that leases of distributors may still bring to these nodes; they take up room too.
  public var held: UInt64
  public var admissionLimit: UInt64

  public enum Verdict: Hashable, Sendable {
    case assigned(BackEndID, name: String, DecisionReason)
    case waits(position: Int)
    case noBackEnd
  }

  /// What is known of one registered node.
  public struct Candidate: Hashable, Sendable {
    public var id: BackEndID
    public var name: String
    public var state: BackEndState
    public var connections: UInt32
    /// Connections per weight, in connections of an average node.
    public var relativeLoad: Double
    /// 100 is an average node.
    public var weight: UInt32
    public var hardMaximum: UInt32
    /// Nil for a candidate.
    public var exclusion: Exclusion?
  }

  /// Why a node is no candidate.
  public enum Exclusion: String, Hashable, Sendable {
    case down
    case draining
    case weightZero = "weight 0"
    case otherPool = "not in the pool"
    case full = "at its maximum of connections"
    case leased = "at its maximum of connections with those that distributors may still send it"
  }
}

extension DispatcherState {
  /// The same choice that `.request` would make now, without making it.
  public func explain(target: UInt64, route: Route = Route(), now: UInt64) -> Explanation {
    let eligible = eligible(route.pool)
    let candidates = eligible.subtracting(loads.full)
    let key = BackEndDirectory.key(target, route.pool)
    var tie = Tie.none
    if let affinity = route.affinity {
      tie = self.tie(of: affinity, candidates: candidates, eligible: eligible, tick: TargetTable.Tick.at(now))
    }
    let verdict: Explanation.Verdict
    if eligible.isEmpty {
      verdict = .noBackEnd
    } else if candidates.isEmpty || loads.occupied >= admissionLimit {
      verdict = .waits(position: queue.count)
    } else if case .holds(let index) = tie {
      verdict = .assigned(BackEndID(UInt16(index)), name: registry.members[index].name, .sticky)
    } else {
      let (choice, _, _) = choose(key, candidates: candidates, eligible: eligible, now: now)
      verdict = .assigned(
        BackEndID(UInt16(choice.index)), name: registry.members[choice.index].name, choice.reason)
    }
    var nodes: [Explanation.Candidate] = []
    for index in registry.members.indices {
      nodes.append(
        Explanation.Candidate(
          id: BackEndID(UInt16(index)), name: registry.members[index].name, state: loads.state(index),
          connections: loads.connections(index), relativeLoad: loads.relativeLoad(index).connections,
          weight: loads.weight(index), hardMaximum: loads.hardMaximum(index),
          exclusion: exclusion(index, candidates: candidates, eligible: eligible)))
    }
    return Explanation(
      policy: policy.name, verdict: verdict, replicas: table[key]?.replicas.members ?? [], candidates: nodes,
      connections: loads.total, held: loads.held, admissionLimit: admissionLimit)
  }

  private func exclusion(_ index: Int, candidates: BackEndSet, eligible: BackEndSet) -> Explanation.Exclusion? {
    if candidates.contains(index) { return nil }
    if eligible.contains(index) {
      return loads.connections(index) < loads.hardMaximum(index) ? .leased : .full
    }
    switch loads.state(index) {
    case .down: return .down
    case .draining: return .draining
    case .up: return loads.weight(index) == 0 ? .weightZero : .otherPool
    }
  }
}
