// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import ForwardingPlane
import LinuxKernel
import Logging
import Telemetry
import Wire

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
      let hello = Hello(role: .backEnd, instance: .random(in: .min ... .max), name: configuration.nodeName)
      let loops = try startLoops(configuration, shared, hello, logger)
      do throws(StartupFailure) {
        var control = try open(
          configuration, shared, hello: hello, loops: loops, listener: listener, lock: lock, network: network, logger)
        try control.setUp()
        gate.succeed()
        control.run()
      } catch {
        endLoops(loops, shared)
        throw error
      }
    } catch {
      gate.fail(error)
    }
  }

  private static func open(
    _ configuration: BackEndConfiguration, _ shared: AgentShared, hello: Hello, loops: [WorkerThread],
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
            do throws(SystemError) {
              var loop = try HandoffLoop(
                configuration, budget: shared.budget, hello: hello,
                mailbox: shared.mailboxes[index], control: shared.signal, plane: shared.plane.read(),
                families: shared.families, index: index, logger: logger)
              gate.succeed()
              loop.run()
              shared.hasEnded.publish(true)
            } catch {
              gate.fail(.resources(error))
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
