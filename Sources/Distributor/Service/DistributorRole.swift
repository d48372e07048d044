// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import ForwardingPlane
import Glibc
import LinuxKernel
import Logging
import Synchronization
public import Telemetry
import Wire

/// A running distributor.
public final class DistributorRole: RunningRole {
  public let name = "distributor"

  let configuration: DistributorConfiguration
  let shared: DistributorShared
  private let logger: Logger
  private let resources: Mutex<Resources>
  private let isDraining = Published(false)

  /// What the role owns until `join`.
  struct Resources: ~Copyable {
    var plane: ForwardingPlane?
    var lock: AbstractLock?
    var threads: [WorkerThread] = []

    init(plane: consuming ForwardingPlane, lock: consuming AbstractLock) {
      self.plane = consume plane
      self.lock = consume lock
    }
  }

  init(
    _ configuration: DistributorConfiguration, shared: DistributorShared, resources: consuming sending Resources,
    logger: Logger
  ) {
    self.configuration = configuration
    self.shared = shared
    self.logger = logger
    self.resources = Mutex(resources)
  }

  func startWorkers(_ sources: [Handover<PacketSource>]) throws(SystemError) {
    var random = SystemRandomNumberGenerator()
    var netlink = try NetlinkSocket(.route)
    guard let interface = try netlink.interface(named: configuration.interface) else {
      throw SystemError("find", configuration.interface, errno: ENODEV)
    }
    let shared = self.shared
    for index in sources.indices {
      shared.handshake.keepAlive(worker: index, until: MonotonicTime.now() + DistributorWorker.aliveFor)
    }
    for (index, source) in sources.enumerated() {
      let worker = Handover(
        try DistributorWorker(
          configuration, index: index, shared: shared, source: source.take(),
          packetSocket: try PacketSocket(interface: interface.index),
          keys: ResponderKeys(handshake: shared.keys.read(), using: &random),
          logger: logger))
      let thread = WorkerThread(name: "distributor/\(index)") {
        var worker = worker.take()
        worker.run()
        shared.hasEnded.publish(true)
      }
      resources.withLock { $0.threads.append(thread) }
    }
  }

  public func health() -> RoleHealth {
    if isDraining.read() { return .draining }
    if shared.hasEnded.read() { return .failed("a worker has ended; the log says why") }
    return shared.isEveryWorkerConnected ? .ready : .waiting("dispatcher \(configuration.dispatcher)")
  }

  public func stop(draining seconds: Double) {
    isDraining.publish(true)
    shared.handshake.drain()
    shared.drainDeadline.publish(MonotonicTime.now() + UInt64(max(0, seconds) * 1_000_000_000))
    for wakeUp in shared.wakeUps { wakeUp.signal() }
  }

  public func join() {
    for thread in resources.withLock({ $0.threads }) { thread.join() }
    PacketFilterRules.remove()
    let failure = resources.withLock { resources -> ForwardingPlaneError? in
      resources.lock = nil
      guard let plane = resources.plane.take() else { return nil }
      do throws(ForwardingPlaneError) {
        try plane.detach()
        return nil
      } catch {
        return error
      }
    }
    if let failure {
      logger.error("the forwarding plane could not be removed", metadata: ["error": "\(failure)"])
    }
  }

  /// Nil once the role has ended.
  func forwardingCounters() -> ForwardingCounters? {
    resources.withLock { resources -> ForwardingCounters? in
      resources.plane?.counters()
    }
  }
}
