// SPDX-License-Identifier: Apache-2.0

internal import ControlProtocol
internal import Rules

extension DispatcherState {
  /// The lease that goes with a decision, nil for most.
  ///
  /// Only where the next request for the target would go to the same node: the policy places by target, and would not move
  /// this one now. A node gets credits only up to the load at which its policy moves targets away in any case, counting
  /// everything that leases may still bring, and none while its policy moves them away.
  mutating func lease(_ choice: Policy.Choice, to peer: PeerID) -> Lease? {
    guard choice.reason.holdsForNext, let limit = leaseRoom(choice.index),
      let credits = leases.grant(at: choice.index, to: peer, limit: limit, parameters.leases)
    else { return nil }
    loads.reserve(choice.index, credits: credits)
    leases.countLease()
    let time = min(parameters.leases.time, policy.longestLease)
    return Lease(
      credits: UInt16(clamping: credits), milliseconds: UInt16(clamping: time / 1_000_000),
      term: leases.terms[choice.index])
  }

  /// Other distributors need not ask about a target that one of them has a lease of.
  func spread(_ decision: Decision, of request: DecisionRequest, from peer: PeerID, _ actions: inout [Action]) {
    guard let lease = decision.lease, case .assigned(let backEnd) = decision.outcome, policy.leasesAreForAll,
      request.route == Route()
    else { return }
    let target = TargetLease(target: request.target, backEnd: backEnd, milliseconds: lease.milliseconds)
    actions.append(.spread(peer, target))
  }

  /// How many credits of a node may be given at once; nil for none.
  private func leaseRoom(_ index: Int) -> UInt32? {
    guard queue.isEmpty, !slowStart.warming.contains(index),
      let limit = policy.leaseLimit(index, parameters.thresholds, loads)
    else { return nil }
    let booked = UInt64(loads.connections(index)) + UInt64(loads.held(index))
    let ceiling = min(limit, UInt64(loads.hardMaximum(index)))
    let room = min(
      ceiling > booked ? ceiling - booked : 0, admissionLimit > loads.occupied ? admissionLimit - loads.occupied : 0)
    // A quarter, so that the first of several workers does not take it all; the last place is not leased.
    return room > 1 ? UInt32(clamping: max(1, room / 4)) : nil
  }

  /// A worker that uses credits gets new ones without having to ask, while the targets that it knows are in force.
  mutating func renew(_ backEnds: BackEndSet, for peer: PeerID, _ actions: inout [Action]) {
    guard parameters.leases.isOn else { return }
    for id in backEnds.members {
      let index = Int(id.rawValue)
      guard loads.eligible.contains(index), let limit = leaseRoom(index),
        let credits = leases.grant(at: index, to: peer, limit: limit, parameters.leases), credits > 0
      else { continue }
      loads.reserve(index, credits: credits)
      actions.append(
        .renew(peer, LeaseCredit(backEnd: id, credits: UInt16(clamping: credits), term: leases.terms[index])))
    }
  }

  /// What a distributor did with credits. Used ones count as uses of the target, like requests that asked.
  mutating func take(_ account: LeaseAccount, from peer: PeerID, now: UInt64, _ actions: inout [Action]) {
    let (used, returned) = leases.settle(account, of: peer)
    let index = Int(account.backEnd.rawValue)
    if used > 0 {
      loads.use(index, credits: used)
      if policy.usesTargetTable {
        let slot = table.find(BackEndDirectory.key(account.target, account.pool))
        if slot.isFound { table.touch(slot, times: used) }
      }
    }
    guard returned > 0 else { return }
    loads.release(index, credits: returned)
    serveQueue(now: now, &actions)
  }
}

extension DecisionReason {
  /// Whether the next request for the target would go to the same node, as far as the target tells.
  fileprivate var holdsForNext: Bool {
    switch self {
    case .first, .mapped, .moved, .orphaned, .hashed: true
    case .rotated, .leastLoaded, .displaced, .replicated, .avoided, .local, .forwarded, .sticky: false
    }
  }
}

extension Policy {
  /// Nanoseconds for which a target's node may be remembered. A replica set shrinks only when its target is asked about: after
  /// its time without change it should be, at least once in that time.
  fileprivate var longestLease: UInt64 {
    switch self {
    case .replicatedLARD, .anchoredLARD: 20_000_000_000
    case .weightedRoundRobin, .leastConnections, .extendedLARD, .boundedLoadHash, .hash, .lard: .max
    }
  }

  /// Whether all distributors should go by the same node for a target. With replicas each asks by itself, and they spread over
  /// the set.
  fileprivate var leasesAreForAll: Bool {
    switch self {
    case .lard, .hash, .boundedLoadHash: true
    case .weightedRoundRobin, .leastConnections, .extendedLARD, .replicatedLARD, .anchoredLARD: false
    }
  }

  /// The connections and credits of a node up to which requests for a target that it has would stay there; nil while they
  /// would not, and for policies by which the target alone does not tell the node.
  fileprivate func leaseLimit(_ index: Int, _ thresholds: LARDThresholds, _ loads: borrowing LoadBook) -> UInt64? {
    // Twice T_high is where LARD moves a target whatever the load of others. Credits are no load: what they bring is compared
    // with the thresholds when it has come.
    let ceiling = 2 * UInt64(thresholds.high) * UInt64(loads.weight(index)) / 100
    return switch self {
    case .weightedRoundRobin, .leastConnections: nil
    // The least cost depends on disk queues and on who else has the target, which change from one request to the next.
    case .extendedLARD: nil
    case .boundedLoadHash(let policy): policy.bound(index, loads)
    // Has no limit of its own; this one keeps its leases from crowding a node.
    case .hash: ceiling
    case .lard, .replicatedLARD, .anchoredLARD:
      thresholds.isOverloaded(loads.relativeLoad(index), loads.eligible, loads) ? nil : ceiling
    }
  }
}
