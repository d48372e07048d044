// SPDX-License-Identifier: Apache-2.0

/// The thresholds of LARD, in connections of an average node (ASPLOS 1998).
public struct LARDThresholds: Hashable, Sendable, BitwiseCopyable {
  /// Below this a node probably has idle resources.
  public var low: UInt32
  /// Above this the delay is noticeable; at twice this a target moves whatever the rest of the cluster does.
  public var high: UInt32

  public init(low: UInt32 = 25, high: UInt32 = 65) {
    self.low = low
    self.high = max(high, low)
  }

  var lowLoad: RelativeLoad { RelativeLoad(connections: low) }
  var highLoad: RelativeLoad { RelativeLoad(connections: high) }

  /// "load(n) > T_high and some node is below T_low, or load(n) >= 2 T_high".
  @inline(__always)
  func isOverloaded(_ load: RelativeLoad, _ candidates: BackEndSet, _ loads: borrowing LoadBook) -> Bool {
    guard load > highLoad else { return false }
    if load.rawValue >= 2 * highLoad.rawValue { return true }
    return loads.hasMember(of: candidates, below: lowLoad)
  }
}

/// Basic LARD: one node per target, which moves to the least loaded node when its own is overloaded.
public struct LARD: Sendable, BitwiseCopyable {
  public var thresholds: LARDThresholds

  public init(thresholds: LARDThresholds = LARDThresholds()) { self.thresholds = thresholds }

  @inline(__always)
  func choose(_ request: Policy.Request, _ loads: borrowing LoadBook) -> Policy.Choice {
    guard let mapping = request.mapping else { return .map(.first, request, loads) }
    let owner = mapping.replicas.first
    guard request.candidates.contains(owner) else { return .replace(request, mapping.replicas, loads) }
    guard thresholds.isOverloaded(loads.relativeLoad(owner), request.candidates, loads) else {
      return Policy.Choice(index: owner, reason: .mapped, mapping: nil)
    }
    let index = loads.leastLoaded(of: request.candidates, target: request.target)
    if index == owner { return Policy.Choice(index: owner, reason: .mapped, mapping: nil) }
    return Policy.Choice(
      index: index, reason: .moved,
      mapping: TargetTable.Mapping(replicas: .index(index), changed: request.tick))
  }
}

extension Policy.Choice {
  /// The least loaded candidate becomes the target's only node.
  static func map(
    _ reason: DecisionReason, _ request: Policy.Request, _ loads: borrowing LoadBook
  ) -> Policy.Choice {
    let index = loads.leastLoaded(of: request.candidates, target: request.target)
    return Policy.Choice(
      index: index, reason: reason, mapping: TargetTable.Mapping(replicas: .index(index), changed: request.tick))
  }

  /// None of the target's nodes is a candidate. If some of them are only full or refused this request, their caches still
  /// hold the target: the request goes elsewhere and the mapping stays. Else the target is assigned as if never seen.
  static func replace(
    _ request: Policy.Request, _ replicas: BackEndSet, _ loads: borrowing LoadBook
  ) -> Policy.Choice {
    if replicas.intersection(request.eligible).isEmpty { return .map(.orphaned, request, loads) }
    return Policy.Choice(
      index: loads.leastLoaded(of: request.candidates, target: request.target), reason: .avoided, mapping: nil)
  }
}
