// SPDX-License-Identifier: Apache-2.0

public import ControlProtocol
public import Wire

/// Where a request would go now, and why: for `clusterctl why` and for tests.
public struct Explanation: Hashable, Sendable {
  public var policy: PolicyName
  public var verdict: Verdict
  /// The nodes to which the target is mapped, whatever their state.
  public var replicas: [BackEndID]
  public var candidates: [Candidate]
  /// Connections on eligible nodes, and the admission limit.
  public var connections: UInt64
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
    /// False when it is down, draining, in another pool, full, or of weight 0.
    public var isCandidate: Bool
  }
}

extension DispatcherState {
  /// The same choice that `.request` would make now, without making it.
  public func explain(target: UInt64, client: IPAddress, pool: UInt16 = 0, now: UInt64) -> Explanation {
    let eligible = eligible(pool: pool)
    let candidates = eligible.subtracting(loads.full)
    let key = BackEndDirectory.key(target, pool: pool)
    let verdict: Explanation.Verdict
    if eligible.isEmpty {
      verdict = .noBackEnd
    } else if candidates.isEmpty || loads.total >= admissionLimit {
      verdict = .waits(position: queue.count)
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
          isCandidate: candidates.contains(index)))
    }
    return Explanation(
      policy: policy.name, verdict: verdict, replicas: table[key]?.replicas.members ?? [], candidates: nodes,
      connections: loads.total, admissionLimit: admissionLimit)
  }
}
