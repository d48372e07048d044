// SPDX-License-Identifier: Apache-2.0

internal import ControlProtocol
internal import Rules

extension DispatcherState {
  /// The lease that goes with a decision, nil for most.
  ///
  /// Only where the next request for the target would go to the same node: the policy places by target, had placed this one
  /// before, and would not move it soon. A node gets credits only up to the load at which its policy begins to move targets
  /// away, counting everything that leases may still bring.
  mutating func lease(_ choice: Policy.Choice, of request: DecisionRequest, to peer: PeerID, now: UInt64) -> Lease? {
    let index = choice.index
    guard choice.reason == .mapped || choice.reason == .hashed, queue.isEmpty, !slowStart.warming.contains(index),
      let limit = policy.leaseLimit(index, parameters.thresholds, loads)
    else { return nil }
    let key = BackEndDirectory.key(request.target, request.route.pool)
    let expected = demand.ask(key, workers: leases.distributors, now: now)
    guard expected > 0 else { return nil }
    let booked = UInt64(loads.connections(index)) + UInt64(loads.held(index))
    let ceiling = min(limit, UInt64(loads.hardMaximum(index)))
    let room = min(
      ceiling > booked ? ceiling - booked : 0, admissionLimit > loads.occupied ? admissionLimit - loads.occupied : 0)
    // A quarter, so that the first of several busy targets does not take it all; the last place is not leased.
    guard room > 1 else { return nil }
    let credits = min(expected, UInt16(clamping: max(1, room / 4)))
    let milliseconds = UInt16(clamping: parameters.leases.time / 1_000_000)
    guard let lease = leases.grant(credits, at: index, to: peer, milliseconds: milliseconds) else { return nil }
    loads.reserve(index, credits: UInt32(credits))
    demand.granted(key, credits)
    return lease
  }

  /// What a distributor did with credits. Used ones count as uses of the target, like requests that asked.
  mutating func take(_ account: LeaseAccount, from peer: PeerID, now: UInt64, _ actions: inout [Action]) {
    let (used, returned) = leases.settle(account, of: peer)
    let index = Int(account.backEnd.rawValue)
    let key = BackEndDirectory.key(account.target, account.pool)
    if used > 0 {
      loads.use(index, credits: used)
      if policy.usesTargetTable {
        let slot = table.find(key)
        if slot.isFound { table.touch(slot, times: used) }
      }
    }
    guard returned > 0 else { return }
    loads.release(index, credits: returned)
    demand.returned(key, UInt16(clamping: returned))
    serveQueue(now: now, &actions)
  }
}

extension Policy {
  /// The connections of a node up to which requests for a target that it has would stay there; nil for policies by which
  /// the target alone does not tell the node.
  func leaseLimit(_ index: Int, _ thresholds: LARDThresholds, _ loads: borrowing LoadBook) -> UInt64? {
    switch self {
    case .weightedRoundRobin, .leastConnections: nil
    // The least cost depends on disk queues and on who else has the target, which change from one request to the next.
    case .extendedLARD: nil
    case .boundedLoadHash(let policy): policy.bound(index, loads)
    // Plain hashing has no limit of its own. The thresholds keep its leases from crowding a node.
    case .hash, .lard, .replicatedLARD, .anchoredLARD:
      UInt64(thresholds.high) * UInt64(loads.weight(index)) / 100
    }
  }
}
