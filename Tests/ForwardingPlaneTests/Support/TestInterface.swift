// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel
import Synchronization
import Wire

@testable import ForwardingPlane

/// A namespace with an Ethernet interface `d0` that has `Addresses.ownMAC`, and `d1` at the other end of its cable.
final class TestInterface: Sendable {
  let namespace: NetworkNamespace
  let index: UInt32

  private static let serial = Atomic<Int>(0)

  /// A name that no other test of this machine uses.
  static func uniqueName(_ suffix: String) -> String {
    "hpl-\(getpid())-\(serial.add(1, ordering: .relaxed).newValue)\(suffix)"
  }

  init() throws {
    let namespace = try NetworkNamespace.create(TestInterface.uniqueName("t"))
    do {
      // No neighbour discovery between the frames of a test. Frames of IPv6 still pass the hook.
      try namespace.run(["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"]).checked()
      try namespace.run([
        "ip", "link", "add", "d0", "address", Addresses.ownMAC.description, "type", "veth", "peer", "name", "d1",
      ]).checked()
      try namespace.run(["ip", "link", "set", "d0", "up", "mtu", "9000"]).checked()
      try namespace.run(["ip", "link", "set", "d1", "up", "mtu", "9000"]).checked()
      let index = try namespace.perform {
        var netlink = try NetlinkSocket(.route)
        return try netlink.interface(named: "d0")?.index ?? 0
      }
      self.namespace = namespace
      self.index = index
    } catch {
      try? namespace.remove()
      throw error
    }
  }

  deinit { try? namespace.remove() }

  static let localMark: UInt32 = 0x4c41

  func attach(
    capacity: Int = 1024, hook: ForwardingHook = .tc, _ attachment: TrafficAttachment = .auto
  ) throws -> ForwardingPlane {
    try namespace.perform {
      try ForwardingPlane.attach(
        interface: "d0",
        configuration: ForwardingPlaneConfiguration(
          capacity: capacity, localMark: Self.localMark, hook: hook, attachment: attachment))
    }
  }

  /// Lets `d1` take frames that an XDP program at `d0` redirects there.
  func takeRedirected(_ takes: Bool = true) throws {
    try namespace.run(["ethtool", "-K", "d1", "gro", takes ? "on" : "off"]).checked()
  }

  /// What `ip` shows of the XDP program of `d0`.
  func driverProgram() throws -> String? {
    let shown = try namespace.run(["ip", "-d", "link", "show", "dev", "d0"]).checked().output
    return shown.split(separator: "\n").first { $0.contains("prog/xdp") }.map(String.init)
  }

  /// The names of the programs at tcx, in their order.
  func express(egress: Bool = false) throws -> [String] {
    let hook = TCXHook(interface: index, isEgress: egress)
    return try namespace.perform {
      guard let ids = try? hook.programs().ids else { return [] }
      return try ids.map { try KernelProgram($0)?.name ?? "gone" }
    }
  }

  /// What `tc` shows of the interface, its clsact qdisc and the filters at both hooks; and the programs at tcx.
  func trafficControl() throws -> String {
    let express = try express().map { "tcx ingress \($0)\n" } + express(egress: true).map { "tcx egress \($0)\n" }
    let qdisc = try namespace.run(["tc", "qdisc", "show", "dev", "d0", "clsact"]).checked().output
    let ingress = try namespace.run(["tc", "filter", "show", "dev", "d0", "ingress"]).output
    let egress = try namespace.run(["tc", "filter", "show", "dev", "d0", "egress"]).output
    return qdisc + ingress + egress + express.joined()
  }
}
