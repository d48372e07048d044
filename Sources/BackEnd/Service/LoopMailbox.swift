// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import LinuxKernel
import Synchronization
import Telemetry
import Wire

/// What an event loop shows to other threads.
struct LoopReport: Sendable {
  var tally = HandoffTally()
  var installTime = LatencyHistogram()
  var heldBytes = 0
  var controlConnections = 0
}

/// Between the agent's control thread and one event loop.
final class LoopMailbox: Sendable {
  enum Mode: UInt8, Sendable {
    /// Takes handoffs.
    case serving
    /// Refuses handoffs, keeps connections.
    case draining
    /// Ends all connections and itself.
    case ending
  }

  private struct Inbox {
    var mode = Mode.serving
    var sockets: [Int32] = []
    /// The control thread wants `addressCounts` kept up to date.
    var countAddresses = false
    var predecessors: [Endpoint] = []
  }

  private let inbox = Mutex(Inbox())
  private let wakeUp: WakeUp
  let report = Published(LoopReport())
  let totals = Published(LoadTotals())
  /// The mode that the loop works by.
  let acknowledged = Published(Mode.serving)
  /// Open connections by service address, at most a second old; kept only on demand.
  let addressCounts = Published<[IPAddress: Int]>([:])

  init() throws(SystemError) { wakeUp = try WakeUp() }

  var wakeDescriptor: Int32 { wakeUp.raw }

  // MARK: Control thread

  func set(_ mode: Mode) {
    inbox.withLock { $0.mode = mode }
    wakeUp.signal()
  }

  func set(countAddresses: Bool) {
    let isNew = inbox.withLock { inbox in
      defer { inbox.countAddresses = countAddresses }
      return inbox.countAddresses != countAddresses
    }
    if isNew { wakeUp.signal() }
  }

  /// Gives the loop a control connection that a distributor opened.
  func adopt(_ socket: consuming StreamSocket) {
    let raw = socket.intoRaw()
    inbox.withLock { $0.sockets.append(raw) }
    wakeUp.signal()
  }

  /// Makes the loop take over the web server's connections at these endpoints that a killed agent had installed.
  func adoptPredecessors(at services: [Endpoint]) {
    inbox.withLock { $0.predecessors = services }
    wakeUp.signal()
  }

  // MARK: Event loop

  /// What is new, and the mode that holds.
  func take() -> (mode: Mode, sockets: [Int32], countAddresses: Bool, predecessors: [Endpoint]) {
    wakeUp.clear()
    return inbox.withLock { inbox in
      defer {
        inbox.sockets.removeAll()
        inbox.predecessors.removeAll()
      }
      return (inbox.mode, inbox.sockets, inbox.countAddresses, inbox.predecessors)
    }
  }
}

/// The connections that all loops of the agent may have together.
final class ConnectionBudget: Sendable {
  private let most: Atomic<Int>
  private let taken = Atomic<Int>(0)

  init(limit: Int) { most = Atomic(limit) }

  var limit: Int { most.load(ordering: .relaxed) }

  /// To be settled before the first handoff.
  func set(limit: Int) { most.store(limit, ordering: .relaxed) }

  /// False when the limit is reached.
  func take() -> Bool {
    if taken.add(1, ordering: .relaxed).newValue <= limit { return true }
    give()
    return false
  }

  /// Whatever the limit is: the connection exists. Returns false when it is above the limit.
  func takeAnyway() -> Bool { taken.add(1, ordering: .relaxed).newValue <= limit }

  var isExhausted: Bool { taken.load(ordering: .relaxed) >= limit }

  func give() { taken.subtract(1, ordering: .relaxed) }
}

/// Wakes the control thread: connections ended, or the web server refused one.
final class ControlSignal: Sendable {
  let untold = UntoldEnds()
  private let wakeUp: WakeUp
  private let serverRefused = Atomic<Bool>(false)
  /// Ends since the last report to the dispatcher.
  private let pending = Atomic<UInt64>(0)

  /// So many ends are reported at once: the dispatcher counts their connections until it hears of them.
  private static let endsTogether: UInt64 = 8

  init() throws(SystemError) { wakeUp = try WakeUp() }

  var descriptor: Int32 { wakeUp.raw }

  /// Two wake-ups at most before the control thread reports: for the first ends, and when there are many.
  func connectionsEnded(_ count: UInt64, wakes: Bool) {
    let (before, after) = pending.add(count, ordering: .acquiringAndReleasing)
    if !wakes { return }
    if before == 0 || (before < ControlSignal.endsTogether && after >= ControlSignal.endsTogether) { wakeUp.signal() }
  }

  var hasEnds: Bool { pending.load(ordering: .acquiring) > 0 }

  var isUrgent: Bool { pending.load(ordering: .acquiring) >= ControlSignal.endsTogether }

  func webServerRefused() {
    if !serverRefused.exchange(true, ordering: .acquiringAndReleasing) { wakeUp.signal() }
  }

  func wake() { wakeUp.signal() }

  /// From now on the next end wakes again; to be called before the totals are read for a report.
  func rearm() { pending.store(0, ordering: .sequentiallyConsistent) }

  /// To be called before looking. Returns whether the web server refused a connection since the last call.
  func clear() -> Bool {
    wakeUp.clear()
    return serverRefused.exchange(false, ordering: .acquiringAndReleasing)
  }
}
