// SPDX-License-Identifier: Apache-2.0

import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// What the distributor's program does with packets for server nodes on other networks.
struct TunnelEntryTests {
  static let node4 = IPAddress("198.51.100.7")!
  static let own4 = IPAddress("192.0.2.254")!
  static let node6 = IPAddress("2001:db8:3::7")!
  static let own6 = IPAddress("2001:db8:4::1")!

  struct Way: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var flow: FlowTuple
    var node: IPAddress
    var source: IPAddress

    static let all = [
      Way(testDescription: "IPv4 in IPv4", flow: Addresses.flow4, node: node4, source: own4),
      Way(testDescription: "IPv6 in IPv4", flow: Addresses.flow6, node: node4, source: own4),
      Way(testDescription: "IPv4 in IPv6", flow: Addresses.flow4, node: node6, source: own6),
      Way(testDescription: "IPv6 in IPv6", flow: Addresses.flow6, node: node6, source: own6),
    ]
  }

  /// The outcomes that are reached here.
  static let outcomes: Set<ForwardingOutcome> = [
    .tunnelled, .tunnelUnknown, .tunnelTooBig, .hopsExceeded, .errorForwarded,
  ]

  private func withPlane(_ way: Way, _ body: (borrowing ForwardingPlane, TestInterface) throws -> Void) throws {
    let interface = try TestInterface()
    let plane = try interface.attach()
    try plane.setServices([Addresses.service4, Addresses.service6])
    let number = try plane.tunnels.number(
      of: Tunnel(node: way.node, source: way.source, interface: interface.index), now: 0)
    try plane.flows.insert(
      way.flow,
      FlowEntry(
        action: .tunnel(number), clientISN: FlowEntry.isn, handoff: .init(7), backEnd: 3, now: 1,
        sendNext: FlowEntry.sampleSendNext))
    try body(plane, interface)
  }

  private func run(_ plane: borrowing ForwardingPlane, _ frame: Frame, _ interface: TestInterface, size: UInt32 = 0)
    throws -> Observation
  {
    // In the namespace: the program asks for the interface's MTU.
    let program = plane.program
    let before = plane.counters()
    let seen = try interface.namespace.perform {
      try ProgramRun(program, frame, interface: interface.index, segmentSize: size)
    }
    let after = plane.counters()
    return Observation(
      verdict: seen.verdict, frame: seen.frame, mark: seen.mark,
      outcomes: ForwardingOutcome.allCases.filter { after[$0] > before[$0] }, nanoseconds: 0)
  }

  /// The frame up to its type, which the neighbour's entry gives it later, and the flow's source port are left open.
  private func expect(_ seen: Observation, toCarry packet: [UInt8], _ way: Way) {
    let start = Frame.ipStart + (way.node.isIPv4 ? 20 : 40)
    let port = UInt16(truncatingIfNeeded: Frame.word(seen.frame.bytes, start))
    #expect(port >= 0xc000)
    let outer = Frame.outer(from: way.source, to: way.node, port: port, payload: packet.count)
    #expect(Array(seen.frame.bytes[Frame.ipStart...]) == outer + packet)
  }

  @Test(arguments: Way.all)
  func packetsGoIntoTheTunnel(_ way: Way) throws {
    try withPlane(way) { plane, interface in
      var ports: Set<Int> = []
      for size in [0, 1, 1400] {
        let frame = Frame.tcp(way.flow, [.ack, .psh], payload: [UInt8](repeating: 9, count: size))
        let seen = try run(plane, frame, interface)
        #expect(seen.verdict == .redirect)
        #expect(seen.outcomes == [.tunnelled])
        expect(seen, toCarry: Frame.oneHopFurther(frame.ipPacket), way)
        ports.insert(Frame.word(seen.frame.bytes, Frame.ipStart + (way.node.isIPv4 ? 20 : 40)))
      }
      #expect(ports.count == 1, "a flow keeps its port")
      let fin = try run(plane, Frame.tcp(way.flow, [.ack, .fin]), interface)
      #expect(fin.outcomes == [.tunnelled])
      #expect(plane.flows.lookup(way.flow)?.seen == .fin)
    }
  }

  @Test(arguments: Way.all)
  func whatCannotGoIsDropped(_ way: Way) throws {
    try withPlane(way) { plane, interface in
      let hops = Frame.ipStart + (way.flow.client.address.isIPv4 ? 8 : 7)
      let lastHop = try run(plane, Frame.tcp(way.flow, .ack).with(1, at: hops), interface)
      #expect(lastHop.verdict == .drop && lastHop.outcomes == [.hopsExceeded])
      // The kernel's test run takes no frame above a page.
      try interface.namespace.run(["ip", "link", "set", "d0", "mtu", "1500"]).checked()
      let header = way.flow.client.address.isIPv4 ? 40 : 60
      let room = 1500 - Tunnel.overhead(overIPv4: way.node.isIPv4) - header
      for (payload, outcome) in [(room, ForwardingOutcome.tunnelled), (room + 1, .tunnelTooBig)] {
        let seen = try run(
          plane, Frame.tcp(way.flow, .ack, payload: [UInt8](repeating: 1, count: payload)), interface)
        #expect(seen.outcomes == [outcome], "\(payload) bytes")
      }
      try plane.flows.insert(
        way.flow,
        FlowEntry(
          action: .tunnel(9), clientISN: FlowEntry.isn, handoff: .init(7), backEnd: 3, now: 1,
          sendNext: FlowEntry.sampleSendNext))
      let nowhere = try run(plane, Frame.tcp(way.flow, .ack), interface)
      #expect(nowhere.verdict == .drop && nowhere.outcomes == [.tunnelUnknown])
    }
  }

  @Test func numbersStayWithTheirNodes() throws {
    let interface = try TestInterface()
    let plane = try interface.attach()
    let tunnels = (0..<5).map { Tunnel(node: IPAddress(ipv4: 0xc633_6401 + $0), source: Self.own4, interface: 1) }
    for (number, tunnel) in tunnels.enumerated() {
      #expect(try plane.tunnels.number(of: tunnel, now: 0) == UInt16(number))
    }
    var moved = tunnels[3]
    moved.interface = 2
    #expect(try plane.tunnels.number(of: moved, now: 0) == 3)
    #expect(plane.tunnels[3] == moved)
    #expect(plane.tunnels[5] == nil)
    // The next process, after a kill: the program is replaced, its tables are not.
    let successor = try interface.attach()
    #expect(try successor.tunnels.number(of: tunnels[4], now: 0) == 4)
  }

  // MARK: Routers' errors

  @Test(arguments: [Addresses.flow4, Addresses.flow6])
  func routersErrorsFollowTheFlow(_ flow: FlowTuple) throws {
    let interface = try TestInterface()
    let plane = try interface.attach()
    try plane.setServices([Addresses.service4, Addresses.service6])
    let isIPv4 = flow.client.address.isIPv4
    let router = isIPv4 ? IPAddress("203.0.113.1")! : IPAddress("2001:db8:9::1")!
    let frame = Frame.routerError(flow, router: router)

    let unknown = try run(plane, frame, interface)
    #expect(unknown.verdict == .pass && unknown.outcomes == [.notService])
    try plane.flows.insert(flow, .forwarding())
    let forwarded = try run(plane, frame, interface)
    #expect(forwarded.verdict == .redirect && forwarded.outcomes == [.errorForwarded])
    #expect(forwarded.frame == frame.forwarded(to: Addresses.backEndMAC))
    #expect(plane.flows.lookup(flow)?.lastSeen == 1, "an error is no sign of the client's life")
    try plane.flows.insert(flow, .local())
    let local = try run(plane, frame, interface)
    #expect(local.verdict == .pass && local.mark == TestInterface.localMark)
    #expect(local.outcomes == [.errorForwarded])

    let way = Way(testDescription: "", flow: flow, node: Self.node4, source: Self.own4)
    let number = try plane.tunnels.number(
      of: Tunnel(node: way.node, source: way.source, interface: interface.index), now: 0)
    try plane.flows.insert(
      flow,
      FlowEntry(
        action: .tunnel(number), clientISN: FlowEntry.isn, handoff: .init(7), backEnd: 3, now: 1,
        sendNext: FlowEntry.sampleSendNext))
    let tunnelled = try run(plane, frame, interface)
    #expect(tunnelled.verdict == .redirect && tunnelled.outcomes == [.errorForwarded])
    expect(tunnelled, toCarry: Frame.oneHopFurther(frame.ipPacket), way)

    // What is no error, and what is cut.
    for type: UInt8 in isIPv4 ? [0, 5, 8, 13] : [128, 129, 135, 0] {
      let seen = try run(plane, Frame.routerError(flow, router: router, type: type), interface)
      #expect(seen.verdict == .pass && seen.outcomes == [.notService], "type \(type)")
    }
    let quoted = Frame.ipStart + (isIPv4 ? 28 : 48)
    for offset in [quoted, quoted + (isIPv4 ? 9 : 6)] {
      let seen = try run(plane, frame.with(0x11, at: offset), interface)
      #expect(seen.verdict == .pass && seen.outcomes == [.notService], "byte \(offset)")
    }
    for length in [quoted - 1, quoted + 3, frame.bytes.count - (isIPv4 ? 5 : 13)] {
      let seen = try run(plane, frame.truncated(to: length), interface)
      #expect(seen.verdict == .pass && seen.outcomes == [.notService], "\(length) bytes")
    }
  }
}
