// SPDX-License-Identifier: Apache-2.0

import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// What the server node's program does with packets, inside tunnels and not.
struct TunnelExitTests {
  static let distributor4 = IPAddress("192.0.2.254")!
  static let distributor6 = IPAddress("2001:db8:4::1")!
  static let node4 = IPAddress("198.51.100.7")!
  static let node6 = IPAddress("2001:db8:3::7")!

  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var frame: Frame
    var outcome: TunnelOutcome
    /// The IP packet afterwards, when it is another one.
    var packet: [UInt8]?

    var testDescription: String { name }

    private static func tunnel(
      _ packet: [UInt8], overIPv4: Bool, from: IPAddress? = nil, port: UInt16 = 6080
    ) -> Frame {
      let outer = Frame.outer(
        from: from ?? (overIPv4 ? distributor4 : distributor6), to: overIPv4 ? node4 : node6, port: 50_000,
        destinationPort: port, payload: packet.count)
      return Frame.carrying(outer + packet)
    }

    private static func both(_ family: String, _ overIPv4: Bool) -> [Case] {
      let ack4 = Frame.tcp(Addresses.flow4, .ack, payload: [1, 2, 3]).ipPacket
      let ack6 = Frame.tcp(Addresses.flow6, .ack, payload: [1, 2, 3]).ipPacket
      let error4 = Frame.routerError(Addresses.flow4, router: IPAddress("203.0.113.1")!).ipPacket
      let error6 = Frame.routerError(Addresses.flow6, router: IPAddress("2001:db8:9::1")!).ipPacket
      let elsewhere = Frame.tcp(
        FlowTuple(client: Addresses.client4, service: Endpoint(IPAddress("203.0.113.81")!, 80)), .ack
      ).ipPacket
      var udp = ack4
      udp[9] = 17
      var version5 = ack4
      version5[0] = 0x55
      var tooLong = ack4
      tooLong[3] += 1
      let good = tunnel(ack4, overIPv4: overIPv4)
      let payload = Frame.ipStart + (overIPv4 ? 28 : 48)
      return [
        Case(name: "\(family): IPv4", frame: good, outcome: .decapsulated, packet: ack4),
        Case(
          name: "\(family): IPv6", frame: tunnel(ack6, overIPv4: overIPv4), outcome: .decapsulated, packet: ack6),
        Case(
          name: "\(family): router's error", frame: tunnel(error4, overIPv4: overIPv4), outcome: .decapsulated,
          packet: error4),
        Case(
          name: "\(family): router's error of IPv6", frame: tunnel(error6, overIPv4: overIPv4), outcome: .decapsulated,
          packet: error6),
        Case(
          name: "\(family): padded frame", frame: good.padded(by: 9), outcome: .decapsulated,
          packet: ack4 + [UInt8](repeating: 0, count: 9)),
        Case(
          name: "\(family): not a distributor",
          frame: tunnel(
            ack4, overIPv4: overIPv4, from: overIPv4 ? IPAddress("192.0.2.253")! : IPAddress("2001:db8:4::2")!),
          outcome: .stranger),
        Case(name: "\(family): other port", frame: tunnel(ack4, overIPv4: overIPv4, port: 6081), outcome: .other),
        Case(
          name: "\(family): address that is not served", frame: tunnel(elsewhere, overIPv4: overIPv4),
          outcome: .notServed),
        Case(name: "\(family): UDP inside", frame: tunnel(udp, overIPv4: overIPv4), outcome: .notServed),
        Case(name: "\(family): version 5 inside", frame: tunnel(version5, overIPv4: overIPv4), outcome: .malformed),
        Case(
          name: "\(family): longer than the datagram", frame: tunnel(tooLong, overIPv4: overIPv4), outcome: .malformed),
        Case(name: "\(family): nothing inside", frame: tunnel([], overIPv4: overIPv4), outcome: .malformed),
        Case(name: "\(family): one byte inside", frame: tunnel([0x45], overIPv4: overIPv4), outcome: .malformed),
        Case(
          name: "\(family): cut in the inner header", frame: good.truncated(to: payload + 12), outcome: .other),
        Case(
          name: "\(family): frame for another node", frame: good.with(2, 0, 0, 0, 0, 9, at: 0), outcome: .other),
      ]
    }

    static let all =
      both("over IPv4", true) + both("over IPv6", false) + [
        Case(
          name: "fragment of a datagram",
          frame: tunnel(Frame.tcp(Addresses.flow4, .ack).ipPacket, overIPv4: true).with(0x20, 0, at: Frame.ipStart + 6),
          outcome: .fragment),
        Case(name: "plain TCP", frame: Frame.tcp(Addresses.flow4, .ack), outcome: .other),
        Case(name: "plain TCP over IPv6", frame: Frame.tcp(Addresses.flow6, .ack), outcome: .other),
        Case(
          name: "router's error outside", frame: Frame.routerError(Addresses.flow4, router: distributor4),
          outcome: .other),
        Case(name: "ARP", frame: Frame.tcp(Addresses.flow4, .ack).with(0x08, 0x06, at: 12), outcome: .other),
      ]
  }

  private func attach(_ interface: TestInterface) throws -> TunnelExit {
    let exit = try interface.namespace.perform { try TunnelExit.attach(interface: "d0") }
    try exit.setPeers([Self.distributor4, Self.distributor6])
    try exit.setServed([Addresses.service4.address, Addresses.service6.address])
    return exit
  }

  @Test(arguments: Case.all)
  func rule(_ rule: Case) throws {
    let interface = try TestInterface()
    let exit = try attach(interface)
    let before = exit.counters.read()
    let program = exit.program
    let seen = try interface.namespace.perform {
      try ProgramRun(program, rule.frame, interface: interface.index)
    }
    let after = exit.counters.read()
    #expect(TunnelOutcome.allCases.filter { after[$0.rawValue] > before[$0.rawValue] } == [rule.outcome])
    switch rule.outcome {
    case .other, .fragment: #expect(seen.verdict == .pass && seen.frame == rule.frame)
    case .decapsulated:
      #expect(seen.verdict == .pass)
      #expect(seen.frame == Frame.carrying(try #require(rule.packet)))
    case .malformed, .stranger, .notServed, .rewriteFailed: #expect(seen.verdict == .drop)
    }
  }

  /// What goes in at one end comes out at the other, one hop older.
  @Test(arguments: TunnelEntryTests.Way.all)
  func bothEndsAgree(_ way: TunnelEntryTests.Way) throws {
    let interface = try TestInterface()
    let plane = try interface.attach()
    try plane.setServices([way.flow.service])
    let overIPv4 = way.node.isIPv4
    let number = try plane.tunnels.number(
      of: Tunnel(
        node: overIPv4 ? Self.node4 : Self.node6, source: overIPv4 ? Self.distributor4 : Self.distributor6,
        interface: interface.index), now: 0)
    try plane.flows.insert(
      way.flow, FlowEntry(action: .tunnel(number), clientISN: FlowEntry.isn, handoff: .init(7), backEnd: 3, now: 1))
    let exit = try attach(interface)
    let (entryProgram, exitProgram) = (plane.program, exit.program)
    for size in [0, 1, 536, 1412] {
      let frame = Frame.tcp(way.flow, .ack, payload: (0..<size).map { UInt8(truncatingIfNeeded: $0) })
      let arrived = try interface.namespace.perform {
        let sent = try ProgramRun(entryProgram, frame, interface: interface.index)
        return try ProgramRun(
          exitProgram, Frame.carrying(Array(sent.frame.bytes[Frame.ipStart...])), interface: interface.index)
      }
      #expect(arrived.verdict == .pass)
      #expect(arrived.frame == Frame.carrying(Frame.oneHopFurther(frame.ipPacket)), "\(size) bytes")
    }
  }

  @Test func garbageEndsInOneOutcome() throws {
    let interface = try TestInterface()
    let exit = try attach(interface)
    let program = exit.program
    var random = SeededRandom(seed: 23)
    let start = Frame.carrying(
      Frame.outer(from: Self.distributor4, to: Self.node4, port: 50_000, payload: 43)
        + Frame.tcp(Addresses.flow4, .ack, payload: [1, 2, 3]).ipPacket)
    let frames = (0..<3000).map { _ -> Frame in
      var frame = start
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        frame.bytes[Int.random(in: 12..<frame.bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      return Bool.random(using: &random)
        ? frame : frame.truncated(to: Int.random(in: 34...frame.bytes.count, using: &random))
    }
    let before = exit.counters.read().reduce(0, +)
    try interface.namespace.perform {
      for frame in frames { _ = try ProgramRun(program, frame, interface: interface.index) }
    }
    #expect(exit.counters.read().reduce(0, +) - before == 3000, "seed 23")
  }

  @Test func nothingIsLeft() throws {
    let interface = try TestInterface()
    let before = try interface.trafficControl()
    try interface.namespace.perform {
      let exit = try TunnelExit.attach(interface: "d0")
      #expect(try interface.trafficControl().contains("handoff_decaps"))
      // As after a kill: the next process puts its own in the place.
      let second = try TunnelExit.attach(interface: "d0")
      try exit.detach()
      #expect(
        try interface.trafficControl().contains("handoff_decaps"), "the first is no longer the one that is attached")
      try second.detach()
      try TunnelExit.removeLeftovers(interface: "d0")
    }
    #expect(try interface.trafficControl() == before)
  }
}
