// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// Tunnels to server nodes on other networks, entered at the driver: the same frames as at tc, or that does it.
struct DriverTunnelTests {
  typealias Way = TunnelEntryTests.Way

  private static let nextHop = MACAddress(bits: 0x0200_0000_0077)

  private func withPlane(_ way: Way, _ body: (borrowing ForwardingPlane, TestInterface) throws -> Void) throws {
    let interface = try TestInterface()
    try interface.takeRedirected()
    let family = way.node.isIPv4 ? "-4" : "-6"
    let commands = [
      "sysctl -qw net.ipv6.conf.d0.disable_ipv6=0", "sysctl -qw net.ipv4.conf.d0.forwarding=1",
      "sysctl -qw net.ipv6.conf.d0.forwarding=1", "ip \(family) route add \(way.node) dev d0",
      "ip \(family) neigh replace \(way.node) lladdr \(Self.nextHop) dev d0 nud permanent",
    ]
    for command in commands {
      try interface.namespace.run(command.split(separator: " ").map(String.init)).checked()
    }
    let plane = try interface.attach(hook: .xdp)
    try plane.setServices([Addresses.service4, Addresses.service6])
    try enter(way, plane, interface: interface.index)
    try body(plane, interface)
  }

  private func enter(_ way: Way, _ plane: borrowing ForwardingPlane, interface: UInt32, mtu: Int = 65_535) throws {
    let number = try plane.tunnels.number(
      of: Tunnel(node: way.node, source: way.source, interface: interface, mtu: mtu), now: 1)
    try plane.flows.insert(
      way.flow,
      FlowEntry(
        action: .tunnel(number), clientISN: FlowEntry.isn, handoff: .init(7), backEnd: 3, now: 1,
        sendNext: FlowEntry.sampleSendNext))
  }

  private func run(
    _ plane: borrowing ForwardingPlane, _ frame: Frame, _ interface: TestInterface
  ) throws -> DriverObservation {
    // The kernel takes the interface and its routes from the namespace of the caller.
    let program = try #require(plane.driver.plane?.program)
    let (counts, counters) = (plane.driver, plane.counters())
    let before = counts.counters()
    let index = interface.index
    let seen = try interface.namespace.perform { try DriverRun(program, frame, interface: index) }
    let (after, now) = (counts.counters(), plane.counters())
    return DriverObservation(
      verdict: seen.verdict, frame: seen.frame, outcomes: DriverOutcome.allCases.filter { after[$0] > before[$0] },
      forwardingOutcomes: ForwardingOutcome.allCases.filter { now[$0] > counters[$0] }, nanoseconds: 0)
  }

  @Test(arguments: Way.all)
  func packetsGoIntoTheTunnel(_ way: Way) throws {
    try withPlane(way) { plane, interface in
      var ports: Set<Int> = []
      let start = Frame.ipStart + (way.node.isIPv4 ? 20 : 40)
      for size in [0, 1, 1400] {
        let frame = Frame.tcp(way.flow, [.ack, .psh], payload: [UInt8](repeating: 9, count: size))
        let seen = try run(plane, frame, interface)
        #expect(seen.verdict == .redirect)
        #expect(seen.outcomes == [.tunnelled] && seen.forwardingOutcomes == [.tunnelled])
        let port = Frame.word(seen.frame.bytes, start)
        let packet = Frame.oneHopFurther(frame.ipPacket)
        let outer = Frame.outer(
          from: way.source, to: way.node, port: UInt16(truncatingIfNeeded: port), payload: packet.count)
        let type: [UInt8] = way.node.isIPv4 ? [0x08, 0x00] : [0x86, 0xdd]
        #expect(seen.frame.bytes == Self.nextHop.bytes + Addresses.ownMAC.bytes + type + outer + packet)
        #expect(port >= 0xc000)
        ports.insert(port)
      }
      #expect(ports.count == 1, "a flow keeps its port")
      let fin = try run(plane, Frame.tcp(way.flow, [.ack, .fin]), interface)
      #expect(fin.outcomes == [.tunnelled])
      #expect(plane.flows.lookup(way.flow)?.seen == .fin)
    }
  }

  @Test(arguments: Way.all)
  func whatCannotGoIsPassed(_ way: Way) throws {
    try withPlane(way) { plane, interface in
      func expectPassed(_ seen: DriverObservation, _ frame: Frame, _ what: String) {
        #expect(seen.verdict == .pass && seen.frame == frame && seen.forwardingOutcomes == [], "\(what)")
        #expect(seen.outcomes == [.noWay], "\(what)")
      }
      let ack = Frame.tcp(way.flow, .ack)
      let hops = Frame.ipStart + (way.flow.client.address.isIPv4 ? 8 : 7)
      let lastHop = ack.with(1, at: hops)
      expectPassed(try run(plane, lastHop, interface), lastHop, "the last hop")

      let mac = Addresses.ownMAC
      try plane.driver.plane?.write(
        driver_settings(
          mac: (mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]), longest: 1514, way: DRIVER_REDIRECTS.rawValue))
      let room =
        1500 - Tunnel.overhead(overIPv4: way.node.isIPv4) - (way.flow.client.address.isIPv4 ? 40 : 60)
      let full = Frame.tcp(way.flow, .ack, payload: [UInt8](repeating: 1, count: room))
      #expect(try run(plane, full, interface).outcomes == [.tunnelled])
      let long = Frame.tcp(way.flow, .ack, payload: [UInt8](repeating: 1, count: room + 1))
      expectPassed(try run(plane, long, interface), long, "too long")

      try enter(way, plane, interface: interface.index, mtu: 1499)
      expectPassed(try run(plane, full, interface), full, "too long for the way")
      try enter(way, plane, interface: interface.index)

      // An unfinished checksum would stay so in the tunnel too.
      let open = ack.checksummed(way.flow, .open)
      #expect(try run(plane, open, interface).outcomes == [.checksumOpen])

      let family = way.node.isIPv4 ? "ipv4" : "ipv6"
      try interface.namespace.run(["sysctl", "-qw", "net.\(family).conf.d0.forwarding=0"]).checked()
      expectPassed(try run(plane, ack, interface), ack, "the kernel does not tell")
      try interface.namespace.run(["sysctl", "-qw", "net.\(family).conf.d0.forwarding=1"]).checked()
      try interface.namespace.run([
        "ip", way.node.isIPv4 ? "-4" : "-6", "neigh", "del", "\(way.node)", "dev", "d0",
      ]).checked()
      expectPassed(try run(plane, ack, interface), ack, "no neighbour")
      try enter(way, plane, interface: 1)
      expectPassed(try run(plane, ack, interface), ack, "another interface")
    }
  }
}
