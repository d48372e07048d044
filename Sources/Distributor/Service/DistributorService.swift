// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DistributorCore
import ForwardingPlane
import Glibc
import LinuxKernel
public import Logging
public import Telemetry
import Wire

/// The distributor role.
public enum DistributorService {
  /// Puts what the distributor needs into the kernel (flow table at tc ingress, queues, netfilter rules) and starts its
  /// workers. What a predecessor left that was killed is taken over (flows) or replaced (rules).
  ///
  /// - Throws: what is missing on this node and what to do about it; nothing is left behind then.
  public static func start(
    _ configuration: DistributorConfiguration, metrics: MetricsRegistry, logger: Logger
  ) throws(StartupFailure) -> DistributorRole {
    let link = try validate(configuration)
    let lock = try takeLock()
    let plane = try attachPlane(configuration, logger: logger)
    let intake = try Intake.open(configuration, plane.handshake, logger: logger)
    let (flowTable, handshake) = (plane.flows, plane.handshake)
    let keys = drawKeys(handshake)
    var limits = ResponderConfiguration(targetKey: TargetHash.key)
    limits.receiveLimit = DistributorConfiguration.receiveLimit
    let reach = ReachFinder(
      mode: configuration.tunnel, internalAddress: configuration.internalAddress, interface: link.index,
      tunnels: plane.tunnels, linkMTU: link.mtu)
    let sizes = SegmentSizes(longestPacket: reach.longestPacket(to: []))
    (limits.maximumSegmentSizeIPv4, limits.maximumSegmentSizeIPv6) = (sizes.ipv4, sizes.ipv6)
    let plan = HandshakePlan(
      answersInKernel: intake.answersInKernel, usesRings: intake.usesRings, workers: configuration.workers,
      responder: limits)
    let rules = packetFilterRules(configuration)
    // The program knows a first request by its cookie, and tells of what it hands off by the ring.
    let leasePlane = intake.answersInKernel && intake.usesRings && configuration.sendsPackets ? plane.leases : nil
    do throws(SystemError) {
      let shared = try DistributorShared(
        flowTable: flowTable, handshake: handshake, leasePlane: leasePlane, reach: reach, keys: keys,
        driver: plane.driver, answersInKernel: intake.answersInKernel, workers: configuration.workers)
      let role = DistributorRole(
        configuration, shared: shared, resources: DistributorRole.Resources(plane: plane, lock: lock), logger: logger)
      try role.startWorkers(intake.takeSources())
      // A packet that meets neither ring nor rule would be answered by the node's own TCP with a reset: what takes over
      // is in force before what goes is removed.
      if !plan.usesRings { try rules.install() }
      handshake.apply(plan)
      if plan.usesRings { PacketFilterRules.remove() }
      metrics.register { role.metricFamilies() }
      return role
    } catch {
      PacketFilterRules.remove()
      throw StartupFailure(
        "The distributor cannot direct client packets to its workers: \(error)",
        remedy: "Run as root (CAP_NET_ADMIN and CAP_NET_RAW), with the Debian package iptables installed and "
          + "NFQUEUE in the kernel (CONFIG_NETFILTER_XT_TARGET_NFQUEUE)")
    }
  }

  static func packetFilterRules(_ configuration: DistributorConfiguration) -> PacketFilterRules {
    PacketFilterRules(
      interface: configuration.interface, services: configuration.services, firstQueue: configuration.firstQueue,
      queues: UInt16(configuration.workers), localMark: configuration.localMark)
  }

  /// The secrets that a predecessor left, so that handshakes under way go on, or new ones.
  static func drawKeys(_ handshake: HandshakeTable) -> HandshakeKeys {
    var random = SystemRandomNumberGenerator()
    let now = MonotonicTime.now()
    var keys = HandshakeKeys(handshake.secrets)
    if keys.areDrawn {
      _ = keys.rotate(now: now, using: &random)
    } else {
      keys = HandshakeKeys(now: now, using: &random)
    }
    handshake.secrets = HandshakeSecrets(keys)
    return keys
  }

  /// Returns the interface on which clients' packets arrive.
  static func validate(_ configuration: DistributorConfiguration) throws(StartupFailure) -> NetworkInterface {
    if !(1...HandshakeTable.maximumWorkers).contains(configuration.workers) {
      throw StartupFailure(
        "The distributor cannot have \(configuration.workers) workers",
        remedy: "Give --workers from 1 to \(HandshakeTable.maximumWorkers)")
    }
    if configuration.services.isEmpty {
      throw StartupFailure(
        "The distributor has no address to serve", remedy: "Name at least one with --serve ADDRESS")
    }
    let addresses: [IPAddress]
    let link: NetworkInterface
    do throws(SystemError) {
      var netlink = try NetlinkSocket(.route)
      guard let interface = try netlink.interface(named: configuration.interface) else {
        throw SystemError("find", errno: ENODEV)
      }
      link = interface
      addresses = try netlink.addresses().filter { $0.interface == interface.index }.map(\.address)
    } catch {
      throw StartupFailure(
        "The interface \(configuration.interface) cannot be read: \(error)",
        remedy: "Name the interface on which clients arrive with --interface")
    }
    for service in configuration.services {
      if service.address == configuration.internalAddress {
        throw StartupFailure(
          "The served address \(service.address) is also the node's internal address",
          remedy: "Serve another address: every server node takes served addresses over on its own loopback "
            + "interface, and could then not reach this node by it")
      }
      if !addresses.contains(service.address) {
        throw StartupFailure(
          "The served address \(service.address) is not an address of \(configuration.interface)",
          remedy: "Add it with: ip address add \(service.address)/\(service.address.isIPv4 ? 32 : 128) "
            + "dev \(configuration.interface)")
      }
    }
    return link
  }

  /// Held by the distributor of a network namespace.
  static let lockName = "handoff-distributor"

  private static func takeLock() throws(StartupFailure) -> AbstractLock {
    do {
      return try AbstractLock(lockName)
    } catch {
      throw StartupFailure(
        "Another distributor runs in this network namespace (\(error))",
        remedy: "Stop it first, or let one process serve all addresses with several --serve options")
    }
  }

  static func attachPlane(
    _ configuration: DistributorConfiguration, logger: Logger
  ) throws(StartupFailure) -> ForwardingPlane {
    do throws(ForwardingPlaneError) {
      let plane = try ForwardingPlane.attach(
        interface: configuration.interface,
        configuration: ForwardingPlaneConfiguration(
          capacity: configuration.maximumFlows, localMark: configuration.localMark,
          hook: ForwardingHook(configuration.forwarding)))
      try plane.setServices(configuration.services)
      logger.notice(
        "forwarding plane attached",
        metadata: [
          "predecessor": "\(plane.adoption)", "forwards": "\(plane.driver.choice)",
          "by": plane.isAtTCX ? "tcx" : "clsact",
        ])
      return plane
    } catch {
      throw StartupFailure(
        "The distributor cannot forward in the kernel", remedy: "\(error)")
    }
  }
}
