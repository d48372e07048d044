// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import ForwardingPlane
import LinuxKernel
import Logging
import Telemetry
import Wire

/// Who runs the event loops.
enum EventLoops: ~Copyable {
  /// The control thread: a node that serves directly has little to do for a connection, and two threads would wake each other.
  case own(HandoffLoop)
  case threads([WorkerThread])
}

extension ControlLoop {
  /// The whole life of the control thread: opens what the agent needs, says so at the gate, runs, cleans up.
  static func live(_ configuration: BackEndConfiguration, _ shared: AgentShared, _ gate: StartGate, _ logger: Logger) {
    do throws(StartupFailure) {
      try StartupChecks.checkRights()
      let lock = try StartupChecks.takeLock()
      let network = try NodeNetwork(configuration, logger: logger)
      let plane = try DirectSetup.prepare(
        configuration, interface: network.interface.name, loops: shared.mailboxes.count, logger)
      shared.plane.publish(plane)
      // Only relayed connections take descriptors.
      if plane != nil { shared.budget.set(limit: Int(configuration.maximumConnections)) }
      defer { plane?.detach() }
      let listener = try StartupChecks.listen(
        at: Endpoint(configuration.internalAddress, configuration.handoffPort))
      let (instance, record) = instanceNumber(configuration, plane, logger)
      defer { record?.remove() }
      let hello = Hello(role: .backEnd, instance: instance, name: configuration.nodeName)
      var threads: [WorkerThread] = []
      do throws(StartupFailure) {
        let loops: EventLoops
        if shared.mailboxes.count == 1, plane != nil {
          loops = .own(try makeLoop(0, configuration, shared, hello, wakesControl: false, logger))
        } else {
          threads = try startLoops(configuration, shared, hello, logger)
          loops = .threads(threads)
        }
        var control = try open(
          configuration, shared, hello: hello, loops: loops, listener: listener, lock: lock, network: network, logger)
        try control.setUp()
        gate.succeed()
        control.run()
      } catch {
        endLoops(threads, shared)
        throw error
      }
    } catch {
      gate.fail(error)
    }
  }

  private static func makeLoop(
    _ index: Int, _ configuration: BackEndConfiguration, _ shared: AgentShared, _ hello: Hello, wakesControl: Bool,
    _ logger: Logger
  ) throws(StartupFailure) -> HandoffLoop {
    do throws(SystemError) {
      return try HandoffLoop(
        configuration, budget: shared.budget, hello: hello, mailbox: shared.mailboxes[index], control: shared.signal,
        wakesControl: wakesControl, plane: shared.plane.read(), families: shared.families, index: index, logger: logger)
    } catch {
      throw .resources(error)
    }
  }

  /// A killed predecessor's number where its connections live on: to distributors the node never went, and they keep its
  /// flows. A new number ends them.
  private static func instanceNumber(
    _ configuration: BackEndConfiguration, _ plane: ServePlane?, _ logger: Logger
  ) -> (UInt64, NodeRecord?) {
    let fresh = UInt64.random(in: .min ... .max)
    guard let plane else { return (fresh, nil) }
    do throws(SystemError) {
      let record = try NodeRecord("back-end-instance", stateDirectory: configuration.stateDirectory)
      let number = (plane.hadPredecessor ? record.number : nil) ?? fresh
      try record.set(number)
      return (number, record)
    } catch {
      logger.warning("should this agent be killed, its connections end with the start of the next: \(error)")
      return (fresh, nil)
    }
  }

  private static func open(
    _ configuration: BackEndConfiguration, _ shared: AgentShared, hello: Hello, loops: consuming EventLoops,
    listener: consuming StreamSocket, lock: consuming AbstractLock, network: consuming NodeNetwork, _ logger: Logger
  ) throws(StartupFailure) -> ControlLoop {
    do throws(SystemError) {
      return try ControlLoop(
        configuration, shared: shared, hello: hello, loops: loops, listener: listener, lock: lock, network: network,
        logger: logger)
    } catch {
      throw .resources(error)
    }
  }

  private static func startLoops(
    _ configuration: BackEndConfiguration, _ shared: AgentShared, _ hello: Hello, _ logger: Logger
  ) throws(StartupFailure) -> [WorkerThread] {
    var loops: [WorkerThread] = []
    do throws(StartupFailure) {
      for index in shared.mailboxes.indices {
        let gate: StartGate
        do { gate = try StartGate() } catch { throw .resources(error) }
        loops.append(
          WorkerThread(name: "be-relay-\(index)") {
            do throws(StartupFailure) {
              var loop = try makeLoop(index, configuration, shared, hello, wakesControl: true, logger)
              gate.succeed()
              loop.run()
              shared.hasEnded.publish(true)
            } catch {
              gate.fail(error)
            }
          })
        try gate.wait()
      }
    } catch {
      endLoops(loops, shared)
      throw error
    }
    return loops
  }

  static func endLoops(_ loops: [WorkerThread], _ shared: AgentShared) {
    for mailbox in shared.mailboxes { mailbox.set(.ending) }
    for loop in loops { loop.join() }
  }
}
