// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import DistributorCore
import ForwardingPlane
import Handoff
import Rules

extension DistributorWorker {
  /// Places a request where its target's lease says; false when the dispatcher must be asked.
  mutating func decidedByLease(_ request: DecisionRequest) -> Bool {
    guard request.excluded == nil, request.route.affinity == nil,
      let backEnd = takeCredit(request.target, request.route.pool)
    else { return false }
    statistics.decisionsLeased += 1
    core.responder.decided(HandoffID(request.id), .backEnd(backEnd), now: core.now, into: &core.actions)
    return true
  }

  private mutating func takeCredit(_ target: UInt64, _ pool: PoolID) -> UInt16? {
    if let backEnd = leases.take(target: target, pool: pool, now: core.now) { return backEnd }
    // The kernel may have what is left.
    guard let lender = leases.lender(target: target, pool: pool, now: core.now) else { return nil }
    reclaim(lender)
    defer { lend(lender) }
    return leases.take(target: target, pool: pool, now: core.now)
  }

  /// Keeps the lease that an answer carries. Credits that cannot be used are returned by the next message.
  mutating func takeLease(_ decision: Decision, wanted request: DecisionRequest?) {
    guard let request else { return }
    let (target, pool) = (request.target, request.route.pool)
    guard let lease = decision.lease, case .assigned(let assigned) = decision.outcome,
      let backEnd = translation.number(of: assigned)
    else {
      leases.revoke(target: target, pool: pool)
      // The kernel remembers more targets than the table.
      if pool == .every { lending?.lender.forgetTarget(target) }
      return
    }
    let time = UInt64(lease.milliseconds) * 1_000_000
    reclaim(backEnd)
    leases.grant(
      target: target, pool: pool, backEnd: backEnd, credits: lease.credits, time: time, term: lease.term, now: core.now)
    guard link(backEnd)?.isReady == true else {
      leases.drop(backEnd: backEnd, now: core.now)
      if pool == .every { lending?.lender.forgetTarget(target) }
      return
    }
    if pool == .every, request.route.affinity == nil {
      lending?.lender.setTarget(target, backEnd: backEnd, until: core.now + time)
    }
    lend(backEnd)
  }

  /// Other distributors have asked about these.
  mutating func takeTargets(_ targets: [TargetLease]) {
    guard lending != nil, lending!.isAllowed else { return }
    for lease in targets {
      guard let backEnd = translation.number(of: lease.backEnd), link(backEnd)?.isReady == true else { continue }
      lending!.lender.setTarget(
        lease.target, backEnd: backEnd, until: core.now + UInt64(lease.milliseconds) * 1_000_000)
    }
  }

  /// Keeps further credits of a back-end.
  mutating func takeCredits(_ credit: LeaseCredit) {
    needsCredits = false
    guard let backEnd = translation.number(of: credit.backEnd) else { return }
    reclaim(backEnd)
    leases.renew(backEnd: backEnd, credits: credit.credits, term: credit.term, now: core.now)
    if link(backEnd)?.isReady == true { lend(backEnd) } else { leases.drop(backEnd: backEnd, now: core.now) }
  }

  /// A back-end refuses or is lost.
  mutating func dropLeases(of backEnd: UInt16) {
    reclaim(backEnd)
    leases.drop(backEnd: backEnd, now: core.now)
  }

  /// What is known of targets is void.
  mutating func dropAllLeases() {
    reclaimAll()
    lending?.lender.forgetTargets()
    leases.dropAll(now: core.now)
  }

  /// The dispatcher is lost.
  mutating func forgetLeases() {
    needsCredits = false
    reclaimAll()
    lending?.lender.forgetTargets()
    lending?.accountsFromNow()
    leases.forget()
  }

  /// Tells the dispatcher what became of credits, when it is time or something is sent to it `alongside`.
  mutating func tellLeases(to connection: ControlConnection, alongside: Bool) {
    if leases.mayBeOverdue(now: core.now) {
      for backEnd in 0..<UInt16(LeaseTable.backEnds) where leases.isOverdue(backEnd: backEnd, now: core.now) {
        reclaim(backEnd)
      }
    }
    leases.collect(now: core.now, alongside: alongside, into: &leaseAccounts)
    if leaseAccounts.isEmpty { return }
    connection.send(.leaseAccounts(leaseAccounts.compactMap { translation.outgoing($0) }))
    // At this pace what is left does not last until the tick after the next.
    needsCredits = leaseAccounts.reduce(0) { $0 + UInt64($1.used) } > leases.credits + leases.lent
    leaseAccounts.removeAll(keepingCapacity: true)
  }
}
