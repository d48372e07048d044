// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// Frames that really travel: from `d1` over the cable into the hook of `d0` and, when forwarded, back to `d1`.
struct LinkTests {
  private func waitForCounters(
    _ plane: borrowing ForwardingPlane, within seconds: Double = 5, until done: (ForwardingCounters) -> Bool
  ) -> Bool {
    let deadline = MonotonicTime.now() + UInt64(seconds * 1e9)
    while MonotonicTime.now() < deadline {
      if done(plane.counters()) { return true }
      sched_yield()
    }
    return false
  }

  @Test(arguments: [Addresses.flow4, Addresses.flow6])
  func aForwardedFrameLeavesWithTheBackEndsAddress(flow: FlowTuple) throws {
    let interface = try TestInterface()
    let plane = try interface.attach()
    try plane.setServices([flow.service])
    try plane.flows.insert(flow, .forwarding())
    let link = try interface.namespace.perform { try RawLink("d1") }
    let frame = Frame.tcp(flow, [.ack, .psh], payload: Array("GET /".utf8))
    try link.send(frame)
    #expect(try link.receive() == frame.forwarded(to: Addresses.backEndMAC))
    #expect(plane.counters()[.forwarded] == 1)
    #expect(plane.counters().total == 1)
  }

  @Test(arguments: [Addresses.flow4, Addresses.flow6])
  func headersNeedNotBeLinear(flow: FlowTuple) throws {
    let interface = try TestInterface()
    let plane = try interface.attach()
    try plane.setServices([flow.service])
    try plane.flows.insert(flow, .forwarding())
    let link = try interface.namespace.perform { try RawLink("d1", splitting: true) }
    let frame = Frame.tcp(flow, [.ack, .psh], payload: (0..<8000).map { UInt8(truncatingIfNeeded: $0) })
    try link.send(frame)
    #expect(try link.receive() == frame.forwarded(to: Addresses.backEndMAC))
    #expect(plane.counters()[.forwarded] == 1)
  }

  /// What BPF_PROG_TEST_RUN does not take: frames below the length of an IP header, and a tag that the kernel has removed.
  @Test(arguments: [
    ("IPv4 header cut by a byte", Frame.tcp(Addresses.flow4, .ack).truncated(to: 33), ForwardingOutcome.malformed),
    ("one byte of an IPv4 header", Frame.tcp(Addresses.flow4, .ack).truncated(to: 15), .malformed),
    ("IPv6 header cut by a byte", Frame.tcp(Addresses.flow6, .ack).truncated(to: 53), .malformed),
    ("one byte of an IPv6 header", Frame.tcp(Addresses.flow6, .ack).truncated(to: 15), .malformed),
    ("802.1Q tag", Frame.tcp(Addresses.flow4, .ack).tagged(), .notService),
    ("frame for another node", Frame.tcp(Addresses.flow4, .ack).with(2, 0, 0, 0, 0, 9, at: 0), .notService),
  ])
  func frames(name: String, frame: Frame, outcome: ForwardingOutcome) throws {
    let interface = try TestInterface()
    let plane = try interface.attach()
    try plane.setServices([Addresses.service4, Addresses.service6])
    try plane.flows.insert(Addresses.flow4, .forwarding())
    try plane.flows.insert(Addresses.flow6, .forwarding())
    let link = try interface.namespace.perform { try RawLink("d1") }
    try link.send(frame)
    #expect(waitForCounters(plane) { $0.total >= 1 }, "\(name): the hook never saw the frame")
    #expect(plane.counters()[outcome] == 1, "\(name): \(plane.counters())")
    #expect(plane.counters().total == 1)
  }

  /// Client, distributor and back-end on one switch; the client's packets reach the back-end and no user space.
  @Test(arguments: [Addresses.flow4, Addresses.flow6])
  func packetsOfAHandedOffFlowReachTheBackEnd(flow: FlowTuple) throws {
    let network = try SwitchedNetwork(["client", "distributor", "backend"])
    let (client, distributor, backEnd) = (network.nodes[0], network.nodes[1], network.nodes[2])
    let plane = try distributor.namespace.perform {
      try ForwardingPlane.attach(interface: "eth0", configuration: .init(capacity: 64, localMark: 1))
    }
    try plane.setServices([flow.service])
    try plane.flows.insert(flow, .forwarding(to: backEnd.mac))
    let capture = try backEnd.namespace.perform { try RawLink("eth0") }
    let sender = try client.namespace.perform {
      var netlink = try NetlinkSocket(.route)
      return try PacketSocket(interface: #require(try netlink.interface(named: "eth0")).index)
    }

    for size in [0, 1, 536, 1440] {
      let frame = Frame.tcp(flow, [.ack, .psh], payload: [UInt8](repeating: UInt8(size & 255), count: size))
      let packet = Array(frame.bytes[Frame.ipStart...])
      #expect(try sender.send(packet.span, to: distributor.mac) == .sent)
      let arrived = try capture.receive { $0.bytes.count >= 14 && Array($0.bytes[6..<12]) == distributor.mac.bytes }
      let expected = backEnd.mac.bytes + distributor.mac.bytes + frame.bytes[12...]
      #expect(arrived?.bytes == expected, "\(size) bytes of payload")
    }
    #expect(plane.counters()[.forwarded] == 4)
    #expect(plane.counters()[.toUserSpace] == 0)
  }

  @Test func interfacesAreFoundByNameIndexAndAddress() throws {
    let interface = try TestInterface()
    try interface.namespace.run(["ip", "link", "set", "d1", "down"]).checked()
    try interface.namespace.run(["ip", "addr", "add", "192.0.2.7/24", "dev", "d0"]).checked()
    let found = try interface.namespace.perform {
      var netlink = try NetlinkSocket(.route)
      return [
        try netlink.interface(named: "d0"), try netlink.interface(interface.index),
        try netlink.interface(having: IPAddress(ipv4: 0xc000_0207)), try netlink.interface(named: "d1"),
        try netlink.interface(named: "d2"), try netlink.interface(having: IPAddress(ipv4: 0xc000_0208)),
      ]
    }
    let expected = NetworkInterface(
      name: "d0", index: interface.index, mac: Addresses.ownMAC, mtu: 9000, isUp: true)
    #expect(Array(found[..<3]) == [expected, expected, expected])
    #expect(found[3]?.isUp == false)
    #expect(Array(found[4...]) == [nil, nil])
  }

  @Test func packetSocketTellsWhatItCannotSend() throws {
    let interface = try TestInterface()
    let index = interface.index
    let socket = try interface.namespace.perform { try PacketSocket(interface: index) }
    let nothing: [UInt8] = []
    #expect(try socket.send(nothing.span, to: Addresses.backEndMAC) == .notIP)
    let arp: [UInt8] = [0, 1, 8, 0]
    #expect(try socket.send(arp.span, to: Addresses.backEndMAC) == .notIP)
    let tooLarge: [UInt8] = [0x45] + [UInt8](repeating: 0, count: 9000)
    #expect {
      try socket.send(tooLarge.span, to: Addresses.backEndMAC)
    } throws: { ($0 as? SystemError)?.errno == EMSGSIZE }
    #expect {
      _ = try interface.namespace.perform { try PacketSocket(interface: 9999) }
    } throws: { ($0 as? SystemError)?.errno == ENODEV }
  }
}
