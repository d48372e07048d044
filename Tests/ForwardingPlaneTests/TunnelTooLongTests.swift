// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// What becomes of clients' packets that are too long for the way to their server node.
struct TunnelTooLongTests {
  static let size = 1 << 20

  /// A distributor's program with the client's flow in a tunnel, and rings for what is for user space.
  private final class Bench {
    let interface: TestInterface
    let plane: ForwardingPlane
    let flow: FlowTuple
    let tunnel: Tunnel
    private var ring: PacketRing

    init(_ flow: FlowTuple, overIPv4: Bool = true, mtu: Int = 1400, ringSize: Int = size) throws {
      self.flow = flow
      interface = try TestInterface()
      plane = try interface.attach()
      try plane.setServices([Addresses.service4, Addresses.service6])
      ring = try plane.handshake.openRing(worker: 0, size: ringSize)
      tunnel = Tunnel(
        node: overIPv4 ? TunnelEntryTests.node4 : TunnelEntryTests.node6,
        source: overIPv4 ? TunnelEntryTests.own4 : TunnelEntryTests.own6, interface: interface.index, mtu: mtu)
      let number = try plane.tunnels.number(of: tunnel, now: 0)
      try plane.flows.insert(
        flow,
        FlowEntry(
          action: .tunnel(number), clientISN: FlowEntry.isn, handoff: .init(7), backEnd: 3, now: 1,
          sendNext: FlowEntry.sampleSendNext))
    }

    func start(usesRings: Bool = true) { Handshake(usesRings: usesRings).start(plane.handshake) }

    func run(_ frame: Frame, segmentSize: UInt32 = 0) throws -> Observation {
      // In the namespace: the program asks for the interface's MTU.
      let (program, index) = (plane.program, interface.index)
      let before = plane.counters()
      let seen = try interface.namespace.perform {
        try ProgramRun(program, frame, interface: index, segmentSize: segmentSize)
      }
      let after = plane.counters()
      return Observation(
        verdict: seen.verdict, frame: seen.frame, mark: seen.mark,
        outcomes: ForwardingOutcome.allCases.filter { after[$0] > before[$0] }, nanoseconds: 0)
    }

    private struct Received: ~Copyable { var packets: [[UInt8]] = [] }

    func told() -> [[UInt8]] {
      var received = Received()
      while ring.receive(
        into: &received, limit: 16,
        { received, packet, _ in received.packets.append(packet.indices.map { packet[$0] }) }
      ) > 0 {}
      return received.packets
    }

    /// A segment of so many bytes in all.
    func frame(_ length: Int, _ checksum: Frame.Checksum = .right) -> Frame {
      let header = flow.client.address.isIPv4 ? 40 : 60
      return Frame.raw(
        flow, [.ack, .psh], sequence: 6000, acknowledgment: 77,
        payload: (0..<length - header).map { UInt8(truncatingIfNeeded: $0) }, checksum: checksum)
    }
  }

  struct Way: Sendable, CustomTestStringConvertible {
    var flow: FlowTuple
    var overIPv4: Bool
    var checksum: Frame.Checksum
    var testDescription: String { "\(flow.client.address) over \(overIPv4 ? "IPv4" : "IPv6"), checksum \(checksum)" }

    static let all = [Addresses.flow4, Addresses.flow6].flatMap { flow in
      [true, false].flatMap { overIPv4 in
        Frame.Checksum.allCases.map { Way(flow: flow, overIPv4: overIPv4, checksum: $0) }
      }
    }
  }

  /// The error, byte by byte as RFC 792 with RFC 1191 and RFC 4443 have it. An open checksum in the quoted header is filled
  /// in first, as a device does before anybody looks.
  private static func error(about frame: Frame, _ flow: FlowTuple, mtu: Int) -> Frame {
    let isIPv4 = flow.client.address.isIPv4
    let quoted = Array(frame.packet.prefix(isIPv4 ? 40 : 60))
    let (from, to) = (Frame.octets(flow.service.address), Frame.octets(flow.client.address))
    var icmp: [UInt8] = (isIPv4 ? [3, 4] : [2, 0]) + [0, 0, 0, 0] + Frame.big(UInt16(mtu)) + quoted
    let pseudo = isIPv4 ? [] : from + to + [0, 0, 0, UInt8(icmp.count), 0, 0, 0, 58]
    icmp.replaceSubrange(2..<4, with: Frame.big(Frame.checksum(pseudo + icmp)))
    var ip = [0x60, 0, 0, 0] + Frame.big(UInt16(icmp.count)) + [58, 64] + from + to
    if isIPv4 {
      ip = [0x45, 0] + Frame.big(UInt16(20 + icmp.count)) + [0, 0, 0x40, 0, 64, 1, 0, 0] + from + to
      ip.replaceSubrange(10..<12, with: Frame.big(Frame.checksum(ip)))
    }
    let type: [UInt8] = isIPv4 ? [8, 0] : [0x86, 0xdd]
    return Frame(bytes: Addresses.routerMAC.bytes + Addresses.ownMAC.bytes + type + ip + icmp)
  }

  /// What the device makes of a frame whose checksum was left open: the sum from the TCP header on, complemented.
  private static func completed(_ frame: Frame, tcp: Int) -> Frame {
    frame.with(at: tcp + 16, Frame.big(Frame.checksum(Array(frame.bytes[tcp...]))))
  }

  @Test(arguments: Way.all)
  func theClientIsToldAndItsPacketKept(_ way: Way) throws {
    let bench = try Bench(way.flow, overIPv4: way.overIPv4)
    bench.start()
    let limit = 1400 - Tunnel.overhead(overIPv4: way.overIPv4)
    let whole = try bench.run(bench.frame(limit, way.checksum))
    #expect(whole.outcomes == [.tunnelled] && whole.verdict == .redirect)
    for length in [limit + 1, 1460] {
      let frame = bench.frame(length, way.checksum)
      let seen = try bench.run(frame)
      #expect(seen.outcomes == [.tunnelTooBig] && seen.verdict == .redirect)
      #expect(bench.told() == [frame.packet])
      let inner = Frame.ipStart + (way.flow.client.address.isIPv4 ? 48 : 88)
      let (left, quoted) =
        way.checksum == .right
        ? (seen.frame, frame) : (Self.completed(seen.frame, tcp: inner), Frame(bytes: frame.bytes))
      var wanted = Self.error(about: quoted, way.flow, mtu: limit)
      if way.checksum == .open {
        // The same error, about a packet with the checksum that the device has put there.
        let filled = Array(left.bytes[inner + 16..<inner + 18])
        wanted = Self.error(about: frame.with(at: frame.tcpStart + 16, filled), way.flow, mtu: limit)
      }
      #expect(left == wanted, "\(length) bytes")
    }
  }

  @Test func joinedSegmentsCountByTheirParts() throws {
    for flow in [Addresses.flow4, Addresses.flow6] {
      let bench = try Bench(flow)
      bench.start()
      let fits = 1372 - (flow.client.address.isIPv4 ? 40 : 60)
      let frame = bench.frame(3000)
      // It is not sent, as the joined segments of a test run are of no type that a tunnel takes.
      #expect(try bench.run(frame, segmentSize: UInt32(fits)).outcomes == [.rewriteFailed])
      let seen = try bench.run(frame, segmentSize: UInt32(fits + 1))
      #expect(seen.outcomes == [.tunnelTooBig] && seen.frame == Self.error(about: frame, flow, mtu: 1372))
      #expect(bench.told() == [frame.packet])
    }
  }

  /// Who does not want to be told, or could do nothing about it, has its packets cut in user space.
  @Test func someAreNotTold() throws {
    let ipv4 = try Bench(Addresses.flow4)
    ipv4.start()
    let may = ipv4.frame(1400).with(0, at: Frame.ipStart + 6)
    let options = ipv4.frame(1400).withIPv4Options(4)
    let ipv6 = try Bench(Addresses.flow6, mtu: 1280 + 27)
    ipv6.start()
    for (bench, frame) in [(ipv4, may), (ipv4, options), (ipv6, ipv6.frame(1280))] {
      let seen = try bench.run(frame)
      #expect(seen.outcomes == [.tunnelTooBig] && seen.verdict == .drop)
      #expect(bench.told() == [frame.packet])
    }
    let least = try Bench(Addresses.flow6, mtu: 1280 + 28)
    least.start()
    #expect(try least.run(least.frame(1281)).verdict == .redirect)
  }

  /// Netfilter's queue has the packet itself, of which no error can be made as well.
  @Test func withoutRingsTheClientIsToldOrThePacketPasses() throws {
    let bench = try Bench(Addresses.flow4)
    bench.start(usesRings: false)
    let frame = bench.frame(1400)
    let told = try bench.run(frame)
    #expect(told.outcomes == [.tunnelTooBig] && told.frame == Self.error(about: frame, bench.flow, mtu: 1372))
    let may = frame.with(0, at: Frame.ipStart + 6)
    let passed = try bench.run(may)
    #expect(passed.outcomes == [.tunnelTooBig] && passed.verdict == .pass && passed.frame == may)
  }

  @Test func clientsAreToldWhenNobodyTakesThePacket() throws {
    let dead = try Bench(Addresses.flow4)
    dead.start()
    dead.plane.handshake.keepAlive(worker: 0, until: 1)
    let full = try Bench(Addresses.flow6, ringSize: 4096)
    full.start()
    for _ in 0..<2 { _ = try full.run(full.frame(1400)) }
    for (bench, outcome) in [(dead, ForwardingOutcome.unattended), (full, .ringFull)] {
      let frame = bench.frame(1400)
      let seen = try bench.run(frame)
      #expect(seen.outcomes == [outcome] && seen.frame == Self.error(about: frame, bench.flow, mtu: 1372))
    }
  }

  /// Nobody is told about an error (RFC 1122 section 3.2.2).
  @Test func errorsAreDropped() throws {
    let bench = try Bench(Addresses.flow4, mtu: 576)
    bench.start()
    let router = IPAddress("203.0.113.1")!
    var packet = Frame.routerError(bench.flow, router: router).ipPacket + [UInt8](repeating: 0, count: 520)
    packet.replaceSubrange(2..<4, with: Frame.big(UInt16(packet.count)))
    let seen = try bench.run(.carrying(packet))
    #expect(seen.outcomes == [.tunnelTooBig] && seen.verdict == .drop)
    #expect(bench.told() == [])
  }

  // MARK: What is known of a way

  @Test func aRoutersWordHoldsForAWhile() {
    let hour: UInt64 = 3_600_000_000_000
    var way = PathMTU(known: 1500)
    #expect(way.effective == 1500)
    way.learn(1600, overIPv4: true, now: hour)
    way.learn(1500, overIPv4: true, now: hour)
    #expect(way == PathMTU(known: 1500), "no router makes a way wider")
    way.learn(1400, overIPv4: true, now: hour)
    #expect(way.effective == 1400)
    way.learn(1450, overIPv4: true, now: hour)
    #expect(way.effective == 1400)
    // Said again: from then on it holds as long as when it was first said.
    way.learn(1400, overIPv4: true, now: hour + 100)
    way.age(now: hour + PathMTU.lifetime + 99)
    #expect(way.effective == 1400)
    way.age(now: hour + PathMTU.lifetime + 100)
    #expect(way.effective == 1500)
    // Nobody makes it narrower than any link is.
    way.learn(0, overIPv4: true, now: hour)
    #expect(way.effective == 576)
    way = PathMTU(known: 1500)
    way.learn(100, overIPv4: false, now: hour)
    #expect(way.effective == 1280)
    way.known = 1000
    #expect(way.effective == 1000)
  }

  @Test func whatRoutersSayIsKeptForTheWay() throws {
    let bench = try Bench(Addresses.flow4, mtu: 1500)
    let tunnels = bench.plane.tunnels
    func report(_ mtu: Int, to node: IPAddress? = nil, from source: IPAddress? = nil) -> PacketTooBig {
      PacketTooBig(source: source ?? bench.tunnel.source, destination: node ?? bench.tunnel.node, mtu: mtu)
    }
    #expect(tunnels.learn(report(1400, to: TunnelEntryTests.own4), now: 5) == nil)
    #expect(tunnels.learn(report(1400, from: TunnelEntryTests.node4), now: 5) == nil)
    #expect(tunnels[0]?.mtu == 1500)
    #expect(tunnels.learn(report(1400), now: 5) == 1400)
    #expect(tunnels.learn(report(1400), now: 6) == nil)
    #expect(tunnels[0]?.room == 1372)
    bench.start()
    #expect(try bench.run(bench.frame(1373)).outcomes == [.tunnelTooBig])
    // The same way once more, and a link that has become narrower.
    #expect(try tunnels.number(of: bench.tunnel, now: 7) == 0)
    #expect(tunnels[0]?.mtu == 1400)
    // The next process, after a kill.
    let successor = try bench.interface.attach()
    #expect(try successor.tunnels.number(of: bench.tunnel, now: 1000) == 0)
    #expect(successor.tunnels[0]?.mtu == 1400)
    successor.tunnels.age(now: PathMTU.lifetime + 999)
    #expect(successor.tunnels[0]?.mtu == 1400)
    successor.tunnels.age(now: PathMTU.lifetime + 1000)
    #expect(successor.tunnels[0]?.mtu == 1500)
  }
}

extension Frame {
  fileprivate func with(at offset: Int, _ replacement: [UInt8]) -> Frame {
    var frame = self
    frame.bytes.replaceSubrange(offset..<offset + replacement.count, with: replacement)
    return frame
  }
}
