// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ControlProtocol
import ForwardingPlane
import Glibc
import LinuxKernel
public import Logging
public import Telemetry

/// A server node's agent, running on its own threads.
public final class BackEndRole: RunningRole {
  public let name = "back-end"

  private let shared: AgentShared
  private let thread: WorkerThread

  private init(_ shared: AgentShared, _ thread: WorkerThread) {
    self.shared = shared
    self.thread = thread
  }

  public func health() -> RoleHealth {
    let status = shared.status.read()
    if status.state == .draining || shared.stop.time != nil { return .draining }
    if shared.hasEnded.read() { return .failed("one of its threads has ended") }
    return status.waitingFor.isEmpty ? .ready : .waiting(status.waitingFor)
  }

  /// Ends at once when no connection is open. Connections that are open after `seconds` are reset.
  public func stop(draining seconds: Double) {
    let wait = UInt64(max(0, min(seconds, 86_400 * 365)) * 1e9)
    shared.stop.ask(until: MonotonicTime.now() + wait)
    shared.signal.wake()
  }

  public func join() { thread.join() }

  /// Starts the agent in the calling thread's network namespace.
  ///
  /// - Throws: `StartupFailure` when a capability or a kernel feature is missing, the address is not the node's, the port is
  ///   in use, or another agent runs in this network namespace. The dispatcher and the web server need not be there yet.
  public static func start(
    _ configuration: BackEndConfiguration, metrics: MetricsRegistry, logger: Logger
  ) throws(StartupFailure) -> BackEndRole {
    let limit = StartupChecks.connectionLimit(configuration)
    let shared: AgentShared
    let gate: StartGate
    do throws(SystemError) {
      shared = try AgentShared(loops: configuration.eventLoops, connectionLimit: limit)
      gate = try StartGate()
    } catch {
      throw .resources(error)
    }
    let thread = WorkerThread(name: "be-control") {
      ControlLoop.live(configuration, shared, gate, logger)
      shared.hasEnded.publish(true)
    }
    do {
      try gate.wait()
    } catch {
      thread.join()
      throw error
    }
    metrics.register { BackEndMetrics.families(shared) }
    return BackEndRole(shared, thread)
  }
}

/// What the agent's threads and its owner share.
final class AgentShared: Sendable {
  let mailboxes: [LoopMailbox]
  let signal: ControlSignal
  let status = Published(AgentStatus())
  let tunnelCounters = Published<TunnelCounterArray?>(nil)
  let stop = StopRequest()
  let budget: ConnectionBudget
  /// Nil when nothing is served directly; settled before the loops start.
  let plane = Published<ServePlane?>(nil)
  let families = DirectFamilies()
  /// A thread has ended, asked or not.
  let hasEnded = Published(false)

  init(loops: Int, connectionLimit: UInt32) throws(SystemError) {
    var mailboxes: [LoopMailbox] = []
    for _ in 0..<loops { mailboxes.append(try LoopMailbox()) }
    self.mailboxes = mailboxes
    signal = try ControlSignal()
    budget = ConnectionBudget(limit: Int(connectionLimit))
  }
}
