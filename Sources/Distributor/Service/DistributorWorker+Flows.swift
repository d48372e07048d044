// SPDX-License-Identifier: Apache-2.0

import ForwardingPlane

extension DistributorWorker {
  /// Nanoseconds between two walks through the table for idle flows.
  static let sweepInterval: UInt64 = 10_000_000_000

  /// Takes flows that are over out of the table; bounded work per turn.
  mutating func endFlows() {
    flows.removeDue(from: shared.flowTable, now: core.now)
    for backEnd in flows.reconcile(with: shared.flowTable, now: core.now) { unload(backEnd, 1) }
    // The table belongs to all workers, and to a predecessor's connections that no worker answers for: one sweeps.
    if index == 0, core.now >= sweepAt { sweepStep() }
  }

  private mutating func sweepStep() {
    let table = shared.flowTable
    let book = FlowBook(limits: FlowBook.Limits(capacity: configuration.maximumFlows))
    let now = core.now
    var removed: UInt64 = 0
    sweep.next(of: table) { flow, entry in
      if book.age(of: entry, now: now) != .alive, table.remove(flow, ifHandoff: entry.handoff) { removed += 1 }
    }
    statistics.flowsIdle += removed
    sweepAt = sweep.isAtStart ? now + DistributorWorker.sweepInterval : now
  }
}
