// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import DistributorCore
import Handoff
import Rules

extension DistributorWorker {
  /// Places a request where its target's lease says; false when the dispatcher must be asked.
  mutating func decidedByLease(_ request: DecisionRequest) -> Bool {
    guard request.excluded == nil, request.route.affinity == nil,
      let backEnd = leases.take(target: request.target, pool: request.route.pool, now: core.now)
    else { return false }
    statistics.decisionsLeased += 1
    core.responder.decided(HandoffID(request.id), .backEnd(backEnd), now: core.now, into: &core.actions)
    return true
  }

  /// Keeps the lease that an answer carries. Credits that cannot be used are returned by the next message.
  mutating func takeLease(_ decision: Decision, wanted request: DecisionRequest?) {
    guard let request else { return }
    guard let lease = decision.lease, case .assigned(let backEnd) = decision.outcome else {
      leases.revoke(target: request.target, pool: request.route.pool)
      return
    }
    leases.grant(
      target: request.target, pool: request.route.pool, backEnd: backEnd.rawValue, credits: lease.credits,
      time: UInt64(lease.milliseconds) * 1_000_000, term: lease.term, now: core.now)
    if link(backEnd.rawValue)?.isReady != true { leases.drop(backEnd: backEnd.rawValue, now: core.now) }
  }

  /// Tells the dispatcher what became of credits, when it is time or something is sent to it `alongside`.
  mutating func tellLeases(to connection: ControlConnection, alongside: Bool) {
    leases.collect(now: core.now, alongside: alongside, into: &leaseAccounts)
    if leaseAccounts.isEmpty { return }
    connection.send(.leaseAccounts(leaseAccounts))
    leaseAccounts.removeAll(keepingCapacity: true)
  }
}
