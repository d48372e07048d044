// SPDX-License-Identifier: Apache-2.0

/// LARD with replication (LARD/R): a target has a set of nodes, which grows while its least loaded member is overloaded and
/// loses its most loaded member when it has not changed for `stability`.
public struct ReplicatedLARD: Sendable, BitwiseCopyable {
  public var thresholds: LARDThresholds
  /// K of the paper in ticks of the target table.
  private var stabilityTicks: UInt32

  /// - Parameter stability: nanoseconds; 20 s in the paper.
  public init(thresholds: LARDThresholds = LARDThresholds(), stability: UInt64 = 20_000_000_000) {
    self.thresholds = thresholds
    stabilityTicks = TargetTable.Tick.duration(stability)
  }

  @inline(__always)
  func choose(_ request: Policy.Request, _ loads: borrowing LoadBook) -> Policy.Choice {
    guard let mapping = request.mapping else { return .map(.first, request, loads) }
    // Nodes that went away leave the set; those that are full or refused this request stay in it.
    let alive = mapping.replicas.intersection(request.eligible)
    let usable = alive.intersection(request.candidates)
    if usable.isEmpty {
      // All members at their hard maximum is overload in the plainest form: the set grows.
      let isFull = !alive.isEmpty && alive.subtracting(loads.full).isEmpty
      return isFull ? grow(alive, request, loads) : .replace(request, mapping.replicas, loads)
    }
    var index = loads.leastLoaded(of: usable, target: request.target)
    var set = alive
    var reason = DecisionReason.mapped
    if thresholds.isOverloaded(loads.relativeLoad(index), request.candidates, loads) {
      let least = loads.leastLoaded(of: request.candidates, target: request.target)
      if !set.contains(least) {
        set.insert(least)
        reason = .replicated
      }
      index = least
    }
    if alive.count > 1, request.tick &- mapping.changed > stabilityTicks {
      let most = loads.mostLoaded(of: alive)
      if most != index { set.remove(most) }
    }
    let changed = set == mapping.replicas ? nil : TargetTable.Mapping(replicas: set, changed: request.tick)
    return Policy.Choice(index: index, reason: reason, mapping: changed)
  }

  private func grow(_ set: BackEndSet, _ request: Policy.Request, _ loads: borrowing LoadBook) -> Policy.Choice {
    let index = loads.leastLoaded(of: request.candidates, target: request.target)
    return Policy.Choice(
      index: index, reason: .replicated,
      mapping: TargetTable.Mapping(replicas: set.union(.index(index)), changed: request.tick))
  }
}
