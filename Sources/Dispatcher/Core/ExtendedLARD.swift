// SPDX-License-Identifier: Apache-2.0

/// Extended LARD for persistent connections (USENIX 1999): the node with the least sum of three costs, each in units of the
/// delay of a cached request on an idle node.
///
/// The first request of a connection is placed like basic LARD: the paper shows that with one node per target the cost form
/// is the same strategy with T_low = L_idle and T_high = L_idle + MissCost. Later requests may be served by the node that has the connection or be
/// fetched by it from one of the nodes that cache the target (`chooseLater`).
public struct ExtendedLARD: Sendable, BitwiseCopyable {
  public var costs: Costs

  public struct Costs: Hashable, Sendable, BitwiseCopyable {
    /// Below this load a node may be under-used.
    public var idle: UInt32
    /// At this load the delay is unacceptable.
    public var overload: UInt32
    /// Cost of a cache miss.
    public var miss: UInt32
    /// Fewer queued disk operations than this make a disk lightly used.
    public var lightDiskQueue: UInt32

    public init(idle: UInt32 = 30, overload: UInt32 = 130, miss: UInt32 = 50, lightDiskQueue: UInt32 = 5) {
      self.idle = idle
      self.overload = overload
      self.miss = miss
      self.lightDiskQueue = lightDiskQueue
    }
  }

  public init(costs: Costs = Costs()) { self.costs = costs }

  /// cost_balancing + cost_locality + cost_replacement, in 1/65536; `.max` stands for infinity.
  @inline(__always)
  func cost(_ load: RelativeLoad, isMapped: Bool) -> UInt64 {
    let idle = RelativeLoad(connections: costs.idle).rawValue
    if load.rawValue >= RelativeLoad(connections: costs.overload).rawValue { return .max }
    let balancing = load.rawValue < idle ? 0 : load.rawValue - idle
    let miss = UInt64(costs.miss) << 16
    let locality = isMapped ? 1 << 16 : miss
    let replacement = load.rawValue < idle || isMapped ? 0 : miss
    return balancing + locality + replacement
  }

  @inline(__always)
  func choose(_ request: Policy.Request, _ loads: borrowing LoadBook) -> Policy.Choice {
    guard let mapping = request.mapping else { return .map(.first, request, loads) }
    let alive = mapping.replicas.intersection(request.eligible)
    if alive.intersection(request.candidates).isEmpty { return .replace(request, mapping.replicas, loads) }
    guard let index = cheapest(of: request.candidates, mapped: alive, request.target, loads) else {
      // Every node is above L_overload: the least loaded is the least evil, and no mapping is worth changing for it.
      let index = loads.leastLoaded(of: request.candidates, target: request.target)
      return Policy.Choice(index: index, reason: alive.contains(index) ? .mapped : .avoided, mapping: nil)
    }
    if alive.contains(index) {
      let changed = alive == mapping.replicas ? nil : TargetTable.Mapping(replicas: alive, changed: request.tick)
      return Policy.Choice(index: index, reason: .mapped, mapping: changed)
    }
    return Policy.Choice(
      index: index, reason: .moved, mapping: TargetTable.Mapping(replicas: .index(index), changed: request.tick))
  }

  /// A later request of a connection that `handling` has. Nobody moves the connection: the node either serves the request
  /// itself or fetches it from another.
  ///
  /// - Returns: the serving node; `reason` is `.local` or `.forwarded`.
  func chooseLater(_ request: Policy.Request, handling: Int, _ loads: borrowing LoadBook) -> Policy.Choice {
    let mapped = (request.mapping?.replicas ?? BackEndSet()).intersection(request.candidates)
    let diskIsIdle = loads.diskQueue(handling) < costs.lightDiskQueue
    if mapped.contains(handling) { return Policy.Choice(index: handling, reason: .local, mapping: nil) }
    var index = handling
    if !diskIsIdle {
      var considered = mapped
      considered.insert(handling)
      index = cheapest(of: considered, mapped: mapped, request.target, loads) ?? handling
    }
    if index != handling { return Policy.Choice(index: index, reason: .forwarded, mapping: nil) }
    // A busy disk means a thrashing cache: what it reads now will not stay, unless nobody else has it.
    guard diskIsIdle || mapped.isEmpty else { return Policy.Choice(index: handling, reason: .local, mapping: nil) }
    return Policy.Choice(
      index: handling, reason: .local,
      mapping: TargetTable.Mapping(replicas: mapped.union(.index(handling)), changed: request.tick))
  }

  /// nil when every cost is infinite.
  @inline(__always)
  private func cheapest(
    of set: BackEndSet, mapped: BackEndSet, _ target: UInt64, _ loads: borrowing LoadBook
  ) -> Int? {
    var least = UInt64.max
    var cheapest = BackEndSet()
    var rest = set
    while !rest.isEmpty {
      let index = rest.popFirst()
      let cost = cost(loads.relativeLoad(index), isMapped: mapped.contains(index))
      if cost == .max || cost > least { continue }
      if cost < least {
        least = cost
        cheapest = BackEndSet()
      }
      cheapest.insert(index)
    }
    if cheapest.isEmpty { return nil }
    // Of equals, one that has the target.
    let cached = cheapest.intersection(mapped)
    if !cached.isEmpty { cheapest = cached }
    return cheapest.count == 1 ? cheapest.first : loads.leastLoaded(of: cheapest, target: target)
  }
}
