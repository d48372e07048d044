// SPDX-License-Identifier: Apache-2.0

import ForwardingPlane
import Handoff
import LinuxKernel
import Wire

/// A connection that is at a back-end.
struct LiveFlow {
  var flow: FlowTuple
  var backEnd: UInt16
  /// When it was entered, in nanoseconds.
  var since: UInt64
}

/// One worker's connections that are at back-ends, by handoff, and the flow-table entries of those that ended.
struct LiveFlows {
  /// Connections beyond which nothing more is handed off.
  let limit: Int
  private var live: [HandoffID: LiveFlow] = [:]
  private var book: FlowBook
  /// Handoffs still to be compared with the table in this round of `reconcile`.
  private var unchecked: [HandoffID] = []
  private var nextRound: UInt64 = 0

  /// Nanoseconds between two rounds of comparing with the table.
  static let roundInterval: UInt64 = 60_000_000_000
  /// Comparisons per loop turn: each is one system call of about half a microsecond.
  static let checksPerTurn = 128

  private static let removalInterval: UInt64 = 100_000_000

  init(limit: Int) {
    self.limit = limit
    book = FlowBook(limits: FlowBook.Limits(capacity: limit))
  }

  var active: Int { live.count }

  var hasRoom: Bool { live.count < limit }

  /// When `due` or `reconcile` have something to do, in nanoseconds.
  var nextDeadline: UInt64 {
    let round = unchecked.isEmpty ? nextRound : 0
    // Entries that linger wait for others: one by one they would wake the worker once for each connection.
    guard let removal = book.nextDeadline else { return round }
    return min(round, MonotonicTime.tick(after: removal, every: LiveFlows.removalInterval))
  }

  mutating func begin(_ id: HandoffID, _ flow: LiveFlow) { live[id] = flow }

  /// All at a back-end.
  func flows(at backEnd: UInt16) -> [FlowTuple] {
    live.values.filter { $0.backEnd == backEnd }.map(\.flow)
  }

  subscript(_ id: HandoffID) -> LiveFlow? { live[id] }

  func flow(of id: HandoffID) -> FlowTuple? { live[id]?.flow }

  /// Forgets a handoff whose entry is taken back. Returns its back-end.
  mutating func withdraw(_ id: HandoffID) -> UInt16? { live.removeValue(forKey: id)?.backEnd }

  /// The back-end reported the end of a connection; its entry stays for a linger time.
  ///
  /// - Parameter marking: the entry may not show it.
  /// - Returns: whether the handoff was known and had not ended before.
  mutating func ended(_ id: HandoffID, marking: Bool, in table: FlowTable, now: UInt64) -> Bool {
    guard let flow = live.removeValue(forKey: id) else { return false }
    if marking { table.markEnded(flow.flow, ifHandoff: id) }
    if let pushedOut = book.ended(id, flow.flow, now: now) {
      _ = table.remove(pushedOut.flow, ifHandoff: pushedOut.handoff)
    }
    return true
  }

  /// Removes the entries whose linger time is over.
  mutating func removeDue(from table: FlowTable, now: UInt64) {
    guard let first = book.nextDeadline else { return }
    // Asked in every turn: the exact number is worth two system calls only when it may matter.
    if first > now, table.occupiedAtMost <= book.limits.crowded { return }
    while let removal = book.due(
      now: now, occupied: table.occupiedAtMost <= book.limits.crowded ? 0 : table.occupied)
    {
      _ = table.remove(removal.flow, ifHandoff: removal.handoff)
    }
  }

  /// Forgets every connection at `backEnd` and its entry.
  ///
  /// - Returns: how many there were.
  mutating func removeAll(backEnd: UInt16, from table: FlowTable) -> Int {
    let lost = live.filter { $0.value.backEnd == backEnd }
    for (id, flow) in lost {
      live[id] = nil
      _ = table.remove(flow.flow, ifHandoff: id)
    }
    return lost.count
  }

  /// Forgets connections whose entry is gone from the table (the client began a new connection on the same tuple, or a
  /// sweep found the flow idle) although their back-end never reported the end. A bounded piece of work per call.
  ///
  /// - Returns: the back-ends of the connections that were forgotten.
  mutating func reconcile(with table: FlowTable, now: UInt64) -> [UInt16] {
    if unchecked.isEmpty {
      guard now >= nextRound else { return [] }
      nextRound = now + LiveFlows.roundInterval
      unchecked = Array(live.keys)
    }
    var gone: [UInt16] = []
    for _ in 0..<min(LiveFlows.checksPerTurn, unchecked.count) {
      let id = unchecked.removeLast()
      guard let flow = live[id], table.lookup(flow.flow)?.handoff != id else { continue }
      live[id] = nil
      gone.append(flow.backEnd)
    }
    return gone
  }
}
