// SPDX-License-Identifier: Apache-2.0

internal import ControlProtocol
internal import DispatcherCore
internal import Glibc
internal import LinuxKernel
public import Logging
public import Rules
internal import Synchronization
public import Telemetry
public import Wire

/// Starts the dispatcher role.
public enum DispatcherService {
  /// Listens and starts the dispatcher's one thread.
  ///
  /// - Throws: when the address cannot be listened at or the process is out of descriptors.
  public static func start(
    _ configuration: DispatcherConfiguration, metrics: MetricsRegistry, logger: Logger
  ) throws(StartupFailure) -> DispatcherRole {
    let shared = DispatcherShared()
    let loop = try makeLoop(configuration, shared, logger)
    let endpoint = loop.endpoint
    let seat = Mutex<DispatcherLoop?>(loop)
    metrics.register { DispatcherMetrics.families(shared.published.read()) }
    let thread = WorkerThread(name: "dispatcher") {
      guard var loop = seat.withLock({ $0.take() }) else { return }
      loop.run()
      shared.hasEnded.publish(true)
    }
    logger.info(
      "dispatcher listens", metadata: ["at": "\(endpoint)", "policy": "\(configuration.parameters.policy.name)"])
    return DispatcherRole(endpoint: endpoint, shared: shared, thread: thread)
  }

  private static func makeLoop(
    _ configuration: DispatcherConfiguration, _ shared: DispatcherShared, _ logger: Logger
  ) throws(StartupFailure) -> DispatcherLoop {
    do {
      return try DispatcherLoop(configuration, shared, logger)
    } catch {
      throw explain(error, configuration.listen)
    }
  }

  static func explain(_ error: SystemError, _ endpoint: Endpoint) -> StartupFailure {
    StartupFailure(
      "The dispatcher cannot listen at \(endpoint): \(error)",
      remedy: error.errno == EADDRINUSE
        ? "Stop the process that uses the port, or choose another one on every node"
        : "Check that the address belongs to this node, that the port is allowed, and that the descriptor limit is not "
          + "reached")
  }
}

/// A dispatcher that runs.
public final class DispatcherRole: RunningRole {
  /// Where it listens; tells the port when the configuration left it to the kernel.
  public let endpoint: Endpoint
  private let shared: DispatcherShared
  private let thread: WorkerThread

  init(endpoint: Endpoint, shared: DispatcherShared, thread: WorkerThread) {
    self.endpoint = endpoint
    self.shared = shared
    self.thread = thread
  }

  public var name: String { "dispatcher" }

  public func health() -> RoleHealth {
    let snapshot = shared.published.read()
    if shared.isStopping { return .draining }
    if shared.hasEnded.read() { return .failed("its thread has ended") }
    return snapshot.backEnds.contains { $0.state == .up } ? .ready : .waiting("for a server node to register")
  }

  /// What the dispatcher counted and knows, at most 50 ms old.
  public var snapshot: DispatcherSnapshot { shared.published.read() }

  /// Tells every node goodbye and ends. There is nothing to drain: connections do not pass through the dispatcher.
  public func stop(draining seconds: Double) { shared.stop() }

  public func join() { thread.join() }

  /// Asks where a request would go now and why; answered by the dispatcher's own thread with the same rules and the same
  /// code that decides. `reply` is not called when the dispatcher ends first.
  public func explain(_ request: RequestQuestion, _ reply: @escaping @Sendable (RequestExplanation) -> Void) {
    shared.ask(.explain(request, reply))
  }

  /// Replaces the rules and tells every distributor. Ties of clients and sessions that the new rules still name stay, for
  /// the key of their hashes does not change.
  public func setRules(_ rules: [Rule]) { shared.ask(.setRules(rules)) }

  /// Asks for the most used targets, most used first: hash, uses, back-ends. Looks at the whole target table, about 5 ms
  /// per million targets, during which nothing is decided.
  public func hottestTargets(_ limit: Int, _ reply: @escaping @Sendable ([HotTarget]) -> Void) {
    shared.ask(.hottestTargets(limit, reply))
  }
}

/// What the dispatcher's thread shares with others.
final class DispatcherShared: Sendable {
  enum Query: Sendable {
    case explain(RequestQuestion, @Sendable (RequestExplanation) -> Void)
    case setRules([Rule])
    case hottestTargets(Int, @Sendable ([HotTarget]) -> Void)
  }

  private struct Inbox: Sendable {
    var queries: [Query] = []
    var isStopping = false
    /// Nobody answers any more.
    var isClosed = false
    var wakeUp: WakeUp?
  }

  let published = Published(DispatcherSnapshot())
  let hasEnded = Published(false)
  private let inbox = Mutex(Inbox())

  func attach(_ wakeUp: WakeUp) { inbox.withLock { $0.wakeUp = wakeUp } }

  var isStopping: Bool { inbox.withLock { $0.isStopping } }

  func ask(_ query: Query) {
    inbox.withLock {
      if $0.isClosed { return }
      $0.queries.append(query)
      $0.wakeUp?.signal()
    }
  }

  /// Throws away what was asked and what will be.
  func close() {
    // Whoever waits may run when its question is released, which must not be under the lock.
    let dropped = inbox.withLock { inbox in
      defer { inbox.queries = [] }
      inbox.isClosed = true
      return inbox.queries
    }
    _ = consume dropped
  }

  func stop() {
    inbox.withLock {
      $0.isStopping = true
      $0.wakeUp?.signal()
    }
  }

  func takeQueries() -> [Query] {
    inbox.withLock { inbox in
      defer { inbox.queries = [] }
      return inbox.queries
    }
  }
}
