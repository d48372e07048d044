// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Wire

/// One connection of a load worker. Trivial, so that the table of them is plain memory.
struct LoadConnection: BitwiseCopyable {
  enum Phase: UInt8 {
    /// No socket.
    case free
    case connecting
    /// Connected, the requests are not all sent.
    case asking
    case head
    case body
    /// Kept alive, nothing under way.
    case idle
  }

  var descriptor: Int32 = -1
  var phase = Phase.free
  /// The present answer has not status 200.
  var isBad = false
  /// The server ends the connection after the present answer.
  var closes = false
  var hasFirstByte = false
  /// Tells events of this socket from those of an earlier one in the same place.
  var generation: UInt32 = 0
  var endpoint = 0
  /// Answers that are to come, and answers that came since the last batch of requests.
  var outstanding = 0
  var answered = 0
  /// Answers since the socket was opened.
  var carried = 0
  /// Bytes of the batch that are sent.
  var sent = 0
  var bodyLeft = 0
  var bodyOffset = 0
  /// When the batch was meant to be sent.
  var started: UInt64 = 0
  var dialled: UInt64 = 0
  var deadline: UInt64 = 0
}

/// One thread of a load generator: an epoll loop over its share of the connections.
///
/// No allocation, string or thrown error for a request that goes well.
struct LoadWorker: ~Copyable {
  let plan: LoadPlan
  let table: RequestTable
  let contents: [Content]
  let sources: [IPAddress?]
  let timeout: UInt64
  /// Requests that this thread may begin.
  let limit: Int

  var chooser: RequestChooser
  var epoll: Epoll
  var connections: [LoadConnection]
  /// The requests under way: `plan.pipeline` path numbers for each connection.
  var batches: [Int32]
  var buffer = [UInt8](repeating: 0, count: 1 << 16)
  /// Beginnings of heads that came in pieces, by connection.
  var pieces: [Int: [UInt8]] = [:]
  /// Requests of a pipelined batch, one after the other.
  var scratch: [UInt8] = []
  var report = LoadReport()
  var issued = 0
  var busy = 0
  var isIssuing = true
  var nextDial: Int
  /// By endpoint: how often more a request is tried at once after connect, in the hope that the connection stands
  /// already. It does on a machine-local network when a kernel answers.
  var hope: [Int]
  /// How long the last answer was: what to read at once.
  var lastBody = 0

  /// Closed loop: connections that failed, to be opened again.
  var resting: [Int] = []
  /// Open loop.
  var freeSlots: [Int] = []
  var idleSlots: [Int] = []
  var waiting: [UInt64] = []
  var firstWaiting = 0

  init(_ plan: LoadPlan, table: RequestTable, contents: [Content], thread: Int) throws(SystemError) {
    self.plan = plan
    self.table = table
    self.contents = contents
    sources = plan.sources.isEmpty ? [nil] : plan.sources
    timeout = UInt64(plan.timeout * 1e9)
    limit = plan.requests.map { $0 / plan.threads + (thread < $0 % plan.threads ? 1 : 0) } ?? Int.max
    chooser = RequestChooser(plan, thread: thread)
    epoll = try Epoll(capacity: 512)
    let count = plan.connections / plan.threads + (thread < plan.connections % plan.threads ? 1 : 0)
    connections = Array(repeating: LoadConnection(), count: count)
    batches = Array(repeating: 0, count: count * plan.pipeline)
    // Threads begin at different endpoints.
    nextDial = thread * count
    hope = Array(repeating: 8, count: plan.endpoints.count)
    report.threads = 1
  }

  /// Runs the thread's part of the plan; `didOpenAll` is called once in a `hold` plan.
  mutating func run(thread: Int, stop: LoadStop, didOpenAll: () -> Void) -> LoadReport {
    let start = MonotonicTime.now()
    let end = start &+ UInt64(plan.seconds * 1e9)
    var held: UInt64 = 0
    switch plan.pace {
    case .closed: runClosed(until: end)
    case .open(let rate):
      WorkerThread.setTimerSlack(nanoseconds: 1)
      var arrivals = Arrivals(
        rate: rate / Double(plan.threads), from: start, seed: plan.seed &+ UInt64(thread) &* 0x9e37)
      runOpen(&arrivals, until: end)
    case .hold:
      openAll(until: start &+ UInt64(plan.openWithin * 1e9))
      let opened = MonotonicTime.now()
      didOpenAll()
      held = hold(until: opened &+ UInt64(plan.seconds * 1e9), stop) &- opened
    }
    isIssuing = false
    drain()
    report.seconds = Double(MonotonicTime.now() &- start &- held) / 1e9
    report.open = connections.reduce(0) { $0 + ($1.phase == .idle ? 1 : 0) }
    for connection in connections where connection.descriptor >= 0 { StreamSocket.close(connection.descriptor) }
    return report
  }

  private mutating func runClosed(until end: UInt64) {
    for slot in connections.indices { begin(slot, intended: MonotonicTime.now()) }
    while issued < limit || busy > 0 {
      let now = MonotonicTime.now()
      if now >= end { return }
      turn(until: resting.isEmpty ? end : min(end, now &+ 10_000_000))
      if !resting.isEmpty { wakeResting() }
    }
  }

  private mutating func wakeResting() {
    let slots = resting
    resting.removeAll(keepingCapacity: true)
    let now = MonotonicTime.now()
    for slot in slots { begin(slot, intended: now) }
  }

  private mutating func runOpen(_ arrivals: inout Arrivals, until end: UInt64) {
    freeSlots = Array(connections.indices.reversed())
    while arrivals.next < end, issued < limit {
      let now = MonotonicTime.now()
      while arrivals.next <= now, arrivals.next < end, issued < limit {
        arrive(arrivals.next, now)
        arrivals.advance()
      }
      turn(until: min(end, arrivals.next), exactly: true)
    }
  }

  private mutating func arrive(_ intended: UInt64, _ now: UInt64) {
    report.lateness.add(now &- intended)
    while let slot = idleSlots.popLast() {
      if connections[slot].phase == .idle {
        begin(slot, intended: intended)
        return
      }
    }
    if let slot = freeSlots.popLast() {
      begin(slot, intended: intended)
    } else {
      waiting.append(intended)
      issued += 1
    }
  }

  /// Opens all connections, a few at a time: a burst of thousands would only test queues.
  private mutating func openAll(until end: UInt64) {
    var next = 0
    while next < connections.count || busy > 0 {
      if next < connections.count, MonotonicTime.now() >= end {
        report.fail(.unsent, count: connections.count - next)
        next = connections.count
        continue
      }
      while next < connections.count, busy < 64 {
        begin(next, intended: MonotonicTime.now())
        next += 1
      }
      turn(until: MonotonicTime.now() &+ 100_000_000)
    }
  }

  /// Looks after idle connections; returns when that ended.
  private mutating func hold(until end: UInt64, _ stop: LoadStop) -> UInt64 {
    while true {
      let now = MonotonicTime.now()
      if now >= end || stop.isStopped { return now }
      turn(until: min(end, now &+ 50_000_000))
    }
  }

  /// Lets requests that are under way, and arrivals that wait, come to their end.
  private mutating func drain() {
    let end = MonotonicTime.now() &+ timeout
    while busy > 0, MonotonicTime.now() < end { turn(until: end) }
    let unsent = waiting.count - firstWaiting
    if unsent > 0 { report.fail(.unsent, count: unsent) }
    for slot in connections.indices where connections[slot].outstanding > 0 {
      report.fail(
        connections[slot].phase == .connecting ? .connectTimeout : .timeout, count: connections[slot].outstanding)
    }
  }

  private var nextScan: UInt64 = 0

  /// Waits once and serves what is ready.
  private mutating func turn(until deadline: UInt64, exactly: Bool = false) {
    let before = MonotonicTime.now()
    if before >= nextScan {
      nextScan = before &+ 100_000_000
      expire(before)
    }
    let limit = min(deadline, nextScan)
    let count = exactly ? epoll.wait(untilExactly: limit) : epoll.wait(until: limit)
    for index in 0..<count {
      let event = epoll.ready(index)
      let slot = Int(UInt32(truncatingIfNeeded: event.token))
      if connections[slot].generation == UInt32(truncatingIfNeeded: event.token >> 32) {
        serve(slot, event.interest)
      }
    }
  }

  private mutating func expire(_ now: UInt64) {
    for slot in connections.indices where connections[slot].outstanding > 0 && connections[slot].deadline < now {
      fail(slot, connections[slot].phase == .connecting ? .connectTimeout : .timeout)
    }
  }
}
