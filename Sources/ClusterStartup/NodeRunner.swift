// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Logging
import NodeChecks
import Telemetry

/// Starts a plan's role. The closure of a test starts something else.
typealias RoleStart =
  @Sendable (NodeRole, NodePlan, MetricsRegistry, Logger) throws(StartupFailure) -> any RunningRole

/// The main thread of a node: starts roles, watches signals, ends.
struct NodeRunner: ~Copyable {
  enum Exit: Int32, Sendable {
    case clean = 0
    case failure = 1
  }

  private enum Token {
    static let signal: UInt64 = 0
    static let wake: UInt64 = 1
  }

  private let configuration: NodeConfiguration
  private let signals: SignalQueue
  private let wake: WakeUp
  private var epoll: Epoll
  private var lifeCycle: LifeCycle
  private let metrics: MetricsRegistry
  private let table: RoleTable
  private let manager: ServiceManager
  private let logger: Logger
  /// Reads the log level anew; set by who knows where it comes from.
  private let readLogLevel: () -> Void

  /// - Parameter signals: made before any other thread.
  init(
    _ configuration: NodeConfiguration, signals: consuming SignalQueue, metrics: MetricsRegistry, table: RoleTable,
    logger: Logger, readLogLevel: @escaping () -> Void
  ) throws(SystemError) {
    let wake = try WakeUp()
    epoll = try NodeRunner.watch(signals, wake)
    self.wake = wake
    self.configuration = configuration
    self.signals = signals
    self.metrics = metrics
    self.table = table
    self.logger = logger
    self.readLogLevel = readLogLevel
    manager = ServiceManager(logger: logger)
    lifeCycle = LifeCycle(drain: UInt64(configuration.drainSeconds * 1e9))
  }

  private static func watch(_ signals: borrowing SignalQueue, _ wake: WakeUp) throws(SystemError) -> Epoll {
    let epoll = try Epoll(capacity: 4)
    try epoll.add(signals.raw, .read, token: Token.signal)
    try epoll.add(wake.raw, .read, token: Token.wake)
    return epoll
  }

  /// Runs the node until it is told to end.
  ///
  /// - Parameter plan: makes the plan; nil when a signal came first.
  mutating func run(
    locate: Locator = Locator(), host: HostView, facts: EnvironmentFacts, start: RoleStart
  ) throws(StartupFailure) -> Exit {
    guard let location = locateDispatcher(locate) else { return .clean }
    let plan = try NodePlan(configuration, host: host, dispatcher: location)
    try Self.report(Preflight.check(plan, facts), logger)
    for role in configuration.roles {
      do {
        table.add(try start(role, plan, metrics, logger))
      } catch {
        stopStarted()
        throw error
      }
    }
    table.allStarted()
    return loop()
  }

  /// Warnings are logged, the first error ends the start.
  static func report(_ findings: [Preflight.Finding], _ logger: Logger) throws(StartupFailure) {
    for finding in findings where finding.severity == .warning { logger.warning("\(finding)") }
    if let error = findings.first(where: { $0.severity == .error }) {
      throw StartupFailure(error.problem, remedy: error.remedy)
    }
  }

  private func stopStarted() {
    let now = MonotonicTime.now()
    table.stop(by: now, now: now)
    table.joinAll()
  }

  // MARK: Start

  /// Where the dispatcher is; waits while its name does not resolve. Nil when a signal came.
  private mutating func locateDispatcher(_ locator: Locator) -> DispatcherLocation? {
    guard case .elsewhere(let name) = configuration.dispatcher else { return .here }
    let preferred = configuration.internalAddress
    var pause: UInt64 = 250_000_000
    var lastReason = ""
    while true {
      let search = locator.start(name: name, preferred: preferred, done: wake)
      while search.outcome() == nil {
        if waitForSignal(until: nil) { return nil }
      }
      switch search.outcome() {
      case .found(let location): return location
      case .notYet(let reason):
        table.waits(for: reason)
        manager.stillStarting(reason, seconds: 60)
        if reason != lastReason { logger.warning("\(reason); trying again") }
        lastReason = reason
      case nil: break
      }
      let until = MonotonicTime.now() + pause
      while MonotonicTime.now() < until {
        if waitForSignal(until: until) { return nil }
      }
      pause = min(pause * 2, 4_000_000_000)
    }
  }

  /// Waits for one event; true when the process shall leave.
  private mutating func waitForSignal(until deadline: UInt64?) -> Bool {
    let count = epoll.wait(until: deadline)
    for index in 0..<count where epoll.ready(index).token == Token.wake { wake.clear() }
    while let signal = signals.next() {
      switch lifeCycle.handle(.signal(signal), now: MonotonicTime.now()) {
      case .leave: return true
      case .readLogLevel: readLogLevel()
      default: break
      }
    }
    return false
  }

  // MARK: Run

  private mutating func loop() -> Exit {
    var said: [String: RoleHealth] = [:]
    var joiner: WorkerThread?
    if lifeCycle.handle(.started, now: MonotonicTime.now()) == .announceReady {
      manager.ready(status(table.health()))
      logger.info("started", metadata: ["roles": "\(configuration.roles.map(\.rawValue).joined(separator: ","))"])
    }
    while true {
      let report = table.health()
      tell(report, &said)
      if let failure = report.failure {
        // Nothing is put back: to connections and peers this is the death of the process, and the next start takes over.
        logger.critical("ending, as a role has failed; restart this node", metadata: ["role": "\(failure)"])
        return .failure
      }
      let poll = MonotonicTime.now() + 500_000_000
      let count = epoll.wait(until: min(poll, lifeCycle.deadline ?? .max))
      var ended = false
      for index in 0..<count where epoll.ready(index).token == Token.wake {
        wake.clear()
        ended = joiner != nil
      }
      var events: [LifeCycle.Event] = ended ? [.rolesEnded] : [.tick]
      while let signal = signals.next() { events.append(.signal(signal)) }
      for event in events {
        let now = MonotonicTime.now()
        switch lifeCycle.handle(event, now: now) {
        case .none, .announceReady, .leave: break
        case .readLogLevel: readLogLevel()
        case .drain(let deadline):
          logger.notice("draining", metadata: ["seconds": "\(configuration.drainSeconds)"])
          manager.stopping("draining")
          table.stop(by: deadline, now: now)
          joiner = join()
        case .cut:
          logger.notice("ending at once")
          manager.stopping("ending at once")
          table.stop(by: now, now: now)
        case .finish:
          joiner?.join()
          logger.notice("ended")
          return .clean
        case .abandon:
          logger.error("a role does not end; the next start on this host removes what it leaves behind")
          return .failure
        }
      }
    }
  }

  /// Waits for the roles on a thread of its own and then wakes the main thread.
  private func join() -> WorkerThread {
    let (table, wake) = (self.table, self.wake)
    return WorkerThread(name: "join") {
      table.joinAll()
      wake.signal()
    }
  }

  // MARK: Readiness

  private func status(_ report: HealthReport) -> String {
    report.entries.map { "\($0.role): \($0.health)" }.joined(separator: "; ")
  }

  private func tell(_ report: HealthReport, _ said: inout [String: RoleHealth]) {
    var changed = false
    for entry in report.entries where said[entry.role] != entry.health {
      said[entry.role] = entry.health
      changed = true
      logger.notice("\(entry.role): \(entry.health)")
    }
    if changed { manager.status(status(report)) }
  }
}
