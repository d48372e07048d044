// SPDX-License-Identifier: Apache-2.0

import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// A worker that lends, with everything that the program needs to hand connections off by itself.
final class LeaseBench {
  static let origin: UInt64 = 0x0123_4567_89ab_cdef
  static let key = HandoffPacketKey(11, 22)
  static let backEnd: UInt16 = 5
  static let page = "/index.html?x=1"
  static let offer = PacketHandoffOffer(port: 7411, key: key, loop: 2, takesIPv4: true, takesIPv6: true)

  let interface: TestInterface
  let plane: ForwardingPlane
  let handshake = Handshake(usesRings: true)
  var ring: PacketRing
  var lender: LeaseLender

  init() throws {
    interface = try TestInterface()
    plane = try interface.attach()
    try plane.setServices([Addresses.service4, Addresses.service6])
    ring = try plane.handshake.openRing(worker: 0, size: 1 << 20)
    handshake.start(plane.handshake)
    lender = plane.leases.lender(worker: 0, origin: LeaseBench.origin)
  }

  static var later: UInt64 { MonotonicTime.now() + 60_000_000_000 }

  static func hash(_ target: String) -> UInt64 { Handshake.targetKey.hash(Array(target.utf8).span) }

  func neighbour(overIPv4: Bool = true) -> LeaseNode {
    LeaseNode(
      offer: LeaseBench.offer, reach: .forward(to: Addresses.backEndMAC),
      tunnel: Tunnel(
        node: overIPv4 ? TunnelEntryTests.node4 : TunnelEntryTests.node6,
        source: overIPv4 ? TunnelEntryTests.own4 : TunnelEntryTests.own6, interface: interface.index))
  }

  /// Lends credits for one page at one node.
  func lend(_ node: LeaseNode? = nil, target: String = page, credits: UInt32 = 1, until time: UInt64 = later) {
    lender.setNode(LeaseBench.backEnd, node ?? neighbour())
    lender.setTarget(LeaseBench.hash(target), backEnd: LeaseBench.backEnd, until: time)
    lender.lend(credits, of: LeaseBench.backEnd, term: 9, until: time)
  }

  /// What the program has not used.
  func reclaim() -> UInt32 { lender.reclaim(LeaseBench.backEnd) }

  /// Whether the program knows this way now.
  func show(_ node: LeaseNode) -> Bool { lender.setNode(LeaseBench.backEnd, node) }

  func run(_ frame: Frame, segmentSize: UInt32 = 0) throws -> Observation {
    // In the namespace: the program asks for the interface's MTU.
    let (program, index) = (plane.program, interface.index)
    let before = plane.counters()
    let seen = try interface.namespace.perform {
      try ProgramRun(program, frame, interface: index, segmentSize: segmentSize)
    }
    let after = plane.counters()
    let outcomes = ForwardingOutcome.allCases.flatMap { outcome in
      Array(repeating: outcome, count: Int(after[outcome] - before[outcome]))
    }
    return Observation(
      verdict: seen.verdict, frame: seen.frame, mark: seen.mark, outcomes: outcomes, nanoseconds: seen.nanoseconds)
  }

  struct Told { var all: [(packet: [UInt8], handoff: LeasedHandoff?)] = [] }

  /// What came by the ring.
  func told() -> [(packet: [UInt8], handoff: LeasedHandoff?)] {
    var told = Told()
    while ring.receive(
      into: &told, limit: 16,
      { told, packet, handoff in told.all.append((packet.indices.map { packet[$0] }, handoff)) }) > 0
    {}
    return told.all
  }
}

/// A client whose SYN the program has answered.
struct LeasedClient {
  var flow: FlowTuple
  var isn: UInt32 = 0x1000
  var offered: TCPOptions
  var synAck: TCPSegment

  static let options = TCPOptions(
    maximumSegmentSize: 1448, windowScale: 9, sackPermitted: true, timestamps: TCPTimestamps(value: 700, echo: 0))

  init(_ bench: LeaseBench, _ flow: FlowTuple, _ offered: TCPOptions = LeasedClient.options, isn: UInt32 = 0x1000)
    throws
  {
    self.flow = flow
    self.offered = offered
    self.isn = isn
    let syn = TCPSegment(
      source: flow.client, destination: flow.service, sequence: SequenceNumber(isn), acknowledgment: SequenceNumber(0),
      flags: .syn, window: 1000, options: offered)
    var packet = [UInt8](repeating: 0, count: syn.headerLength)
    var span = packet.mutableSpan
    _ = syn.emit(payload: [UInt8]().span, into: &span)
    var frame = Frame.tcp(flow, .syn)
    frame.bytes.replaceSubrange(Frame.ipStart..., with: packet)
    let seen = try bench.run(frame)
    try #require(seen.outcomes == [.synAnswered] || seen.outcomes == [.synReused], "\(seen.outcomes)")
    synAck = try TCPSegment.parse(seen.frame.packet.span).segment
  }

  /// The first segment with data.
  func request(
    _ text: String, flags: TCPFlags = [.ack, .psh], at offset: UInt32 = 0, acknowledging: UInt32 = 0,
    options: [UInt8]? = nil, checksum: Frame.Checksum = .right
  ) -> Frame {
    Frame.raw(
      flow, flags, sequence: isn &+ 1 &+ offset, acknowledgment: synAck.sequence.rawValue &+ 1 &+ acknowledging,
      options: options ?? timestamps, payload: Array(text.utf8), checksum: checksum)
  }

  var timestamps: [UInt8] {
    guard let theirs = synAck.options.timestamps else { return [] }
    func bytes(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }
    return [1, 1, 8, 10] + bytes(701) + bytes(theirs.value)
  }

  static func get(_ target: String = LeaseBench.page, rest: String = "Host: example.org\r\n\r\n") -> String {
    "GET \(target) HTTP/1.1\r\n" + rest
  }
}
