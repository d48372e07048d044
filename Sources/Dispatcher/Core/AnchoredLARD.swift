// SPDX-License-Identifier: Apache-2.0

/// LARD/R whose sets always grow in the same order: a variant that is not in the papers.
///
/// Each target ranks the nodes by a hash of its own (rendezvous hashing). Where LARD/R takes the least loaded node, this
/// takes the first node of the target's ranking that has room: a target that lost a node by decay and needs one again gets
/// back the one that may still have it in its cache, and a restarted dispatcher finds the mappings of its predecessor again.
///
/// Room for a target's first node is a load below the average. A node that is to take over requests of an overloaded one
/// needs a tenth more: with less the set would soon grow again, and each copy takes the place of another target in a cache.
public struct AnchoredLARD: Sendable, BitwiseCopyable {
  public var thresholds: LARDThresholds
  private var stabilityTicks: UInt32

  /// - Parameter stability: nanoseconds without change after which a set loses its most loaded node.
  public init(thresholds: LARDThresholds = LARDThresholds(), stability: UInt64 = 20_000_000_000) {
    self.thresholds = thresholds
    stabilityTicks = TargetTable.Tick.duration(stability)
  }

  @inline(__always)
  func choose(_ request: Policy.Request, _ loads: borrowing LoadBook) -> Policy.Choice {
    guard let mapping = request.mapping else {
      return change(BackEndSet(), to: anchor(request, below: loads.averageLoad, loads), .first, request)
    }
    let alive = mapping.replicas.intersection(request.eligible)
    let usable = alive.intersection(request.candidates)
    if usable.isEmpty {
      let node = anchor(request, below: loads.averageLoad, loads)
      if alive.isEmpty { return change(alive, to: node, .orphaned, request) }
      let isFull = alive.subtracting(loads.full).isEmpty
      return isFull
        ? change(alive, to: node, .replicated, request) : Policy.Choice(index: node, reason: .avoided, mapping: nil)
    }
    let index = loads.leastLoaded(of: usable, target: request.target)
    if thresholds.isOverloaded(loads.relativeLoad(index), request.candidates, loads) {
      let room = RelativeLoad(rawValue: loads.averageLoad.rawValue * 9 / 10)
      let node = anchor(request, below: room, loads)
      if loads.relativeLoad(node) < loads.relativeLoad(index), !alive.contains(node) {
        return change(alive, to: node, .replicated, request)
      }
    }
    var set = alive
    if alive.count > 1, request.tick &- mapping.changed > stabilityTicks {
      let most = loads.mostLoaded(of: alive)
      if most != index { set.remove(most) }
    }
    if set == mapping.replicas { return Policy.Choice(index: index, reason: .mapped, mapping: nil) }
    return Policy.Choice(
      index: index, reason: .mapped, mapping: TargetTable.Mapping(replicas: set, changed: request.tick))
  }

  /// The first node in the target's ranking whose load is below `room`; the least loaded one when none is.
  private func anchor(_ request: Policy.Request, below room: RelativeLoad, _ loads: borrowing LoadBook) -> Int {
    loads.preferred(of: request.candidates, target: request.target, below: room)
      ?? loads.leastLoaded(of: request.candidates, target: request.target)
  }

  private func change(
    _ set: BackEndSet, to index: Int, _ reason: DecisionReason, _ request: Policy.Request
  ) -> Policy.Choice {
    Policy.Choice(
      index: index, reason: reason,
      mapping: TargetTable.Mapping(replicas: set.union(.index(index)), changed: request.tick))
  }
}
