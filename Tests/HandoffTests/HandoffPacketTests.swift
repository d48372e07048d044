// SPDX-License-Identifier: Apache-2.0

import Handoff
import Testing
import Wire

/// A handoff as one datagram, byte by byte.
@Suite struct HandoffPacketTests {
  static let key = HandoffPacketKey(0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00)

  /// Everything negotiated, over IPv4.
  static let full = HandoffPacket(
    origin: 0xa1a2_a3a4_a5a6_a7a8, id: HandoffID(slot: 9, generation: 3), loop: 5,
    snapshot: TCPSnapshot(
      flow: FlowTuple(
        client: Endpoint(IPAddress("192.0.2.1")!, 40_001), service: Endpoint(IPAddress("203.0.113.80")!, 80)),
      sendNext: SequenceNumber(0xffff_fff0), receiveNext: SequenceNumber(5018),
      clientInitialSequence: SequenceNumber(4999), sendWindow: 30_720, receiveWindow: 65_000, maximumSegmentSize: 1400,
      windowScale: .init(send: 9, receive: 7), sackPermitted: true,
      timestamps: .init(nextValue: 0x0102_0304, recent: 7000)))

  /// Nothing negotiated, over IPv6, every number at an end of its range.
  static let bare = HandoffPacket(
    origin: 1, id: HandoffID(.max), loop: 0,
    snapshot: TCPSnapshot(
      flow: FlowTuple(
        client: Endpoint(IPAddress("2001:db8:0:1:1234:5678:9abc:def1")!, 65_535),
        service: Endpoint(IPAddress("2001:db8:0:2::80")!, 8080)),
      sendNext: SequenceNumber(1), receiveNext: SequenceNumber(1), clientInitialSequence: SequenceNumber(0),
      sendWindow: 1 << 20, receiveWindow: 1, maximumSegmentSize: 1220, windowScale: nil, sackPermitted: false,
      timestamps: nil))

  /// Written by another program: headers and checksums by hand, the tag by SipHash-2-4 of ten little-endian words.
  static let golden: [(name: String, packet: HandoffPacket, request: [UInt8], bytes: String)] = [
    (
      "IPv4 with everything", full, Array("GET / HTTP/1.1\r\n\r\n".utf8),
      """
      0107090705780500a1a2a3a4a5a6a7a8000000030000000900001b5801020304\
      5762bc52fa840e56450000460000400040063c60c0000201cb0071509c410050\
      00001388fffffff08018003cca0b00000101080a00001b580102030447455420\
      2f20485454502f312e310d0a0d0a
      """
    ),
    (
      "IPv6 with nothing", bare, [0xff],
      """
      0100000004c400000000000000000001ffffffffffffffff0000000000000000\
      18083715ca03e9fc600000000015064020010db800000001123456789abcdef1\
      20010db8000000020000000000000080ffff1f9000000000000000015018ffff\
      52ea0000ff
      """
    ),
  ]

  private static func emit(_ packet: HandoffPacket, _ request: [UInt8], key: HandoffPacketKey = key) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xee, count: packet.length(requestBytes: request.count) + 3)
    var span = bytes.mutableSpan
    let count = packet.emit(request: request.span, key: key, into: &span)
    #expect(bytes[count...].elementsEqual([0xee, 0xee, 0xee]), "written past the end")
    return Array(bytes[..<count])
  }

  private static func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  @Test(arguments: golden.indices) func bytesAreThoseOfTheLayout(_ index: Int) {
    let example = Self.golden[index]
    let bytes = Self.emit(example.packet, example.request)
    #expect(Self.hexadecimal(bytes) == example.bytes, "\(example.name)")
    #expect(bytes.count == example.packet.length(requestBytes: example.request.count))
  }

  /// What is behind the header is a packet of the client as any other.
  @Test(arguments: golden.indices) func theRequestIsASegmentOfTheClient(_ index: Int) throws {
    let (_, packet, request, _) = Self.golden[index]
    let bytes = Array(Self.emit(packet, request)[HandoffPacket.headerLength...])
    let parsed = try TCPSegment.parse(bytes.span, verifyingChecksums: true)
    #expect(Array(bytes[parsed.payload]) == request)
    #expect(parsed.segment == packet.snapshot.segment(requestBytes: request.count))
    #expect(parsed.segment.sequence.advanced(by: request.count) == packet.snapshot.receiveNext)
    #expect(parsed.segment.acknowledgment == packet.snapshot.sendNext)
  }

  /// Each field that decides what the connection becomes is under the tag, and nothing else of the header changes it.
  @Test func everyFieldChangesTheTag() {
    let changes: [(String, (inout HandoffPacket) -> Void)] = [
      ("origin", { $0.origin += 1 }), ("handoff", { $0.id = HandoffID(slot: 9, generation: 4) }),
      ("loop", { $0.loop = 4 }), ("client", { $0.snapshot.flow.client.address.low ^= 1 }),
      ("client's port", { $0.snapshot.flow.client.port += 1 }),
      ("service", { $0.snapshot.flow.service.address.low ^= 1 }),
      ("service's port", { $0.snapshot.flow.service.port += 1 }),
      ("sequence", { $0.snapshot.receiveNext = SequenceNumber(5019) }),
      ("acknowledgment", { $0.snapshot.sendNext = SequenceNumber(0xffff_fff1) }),
      ("segment size", { $0.snapshot.maximumSegmentSize += 1 }),
      ("send scale", { $0.snapshot.windowScale?.send = 8 }),
      ("receive scale", { $0.snapshot.windowScale?.receive = 8 }),
      ("no scale", { $0.snapshot.windowScale = nil }), ("no SACK", { $0.snapshot.sackPermitted = false }),
      ("timestamp", { $0.snapshot.timestamps?.recent += 1 }), ("clock", { $0.snapshot.timestamps?.nextValue += 1 }),
      ("no timestamps", { $0.snapshot.timestamps = nil }),
    ]
    func tag(_ packet: HandoffPacket, _ key: HandoffPacketKey = Self.key) -> [UInt8] {
      Array(Self.emit(packet, [1, 2, 3], key: key)[32..<40])
    }
    var tags: Set<[UInt8]> = [tag(Self.full)]
    for (name, change) in changes {
      var packet = Self.full
      change(&packet)
      #expect(tags.insert(tag(packet)).inserted, "\(name) does not change the tag")
    }
    #expect(tags.insert(tag(Self.full, HandoffPacketKey(Self.key.first, Self.key.second ^ 1))).inserted)
    #expect(tags.insert(tag(Self.full, HandoffPacketKey(Self.key.first ^ 1, Self.key.second))).inserted)
    // What the node does not need: our window, and the number that only distributors look at.
    var packet = Self.full
    packet.snapshot.receiveWindow = 1
    packet.snapshot.clientInitialSequence = SequenceNumber(1)
    #expect(tag(packet) == tag(Self.full))
  }

  /// As much as fits: with timestamps 12 bytes less, over IPv6 20 bytes less.
  @Test(arguments: [(true, true, 1308), (true, false, 1320), (false, true, 1288), (false, false, 1300)])
  func aDatagramHoldsARequestOfThisLength(isIPv4: Bool, hasTimestamps: Bool, most: Int) {
    var packet = Self.full
    if !isIPv4 { packet.snapshot.flow = Self.bare.snapshot.flow }
    if !hasTimestamps { packet.snapshot.timestamps = nil }
    #expect(packet.length(requestBytes: most) == HandoffPacket.limit)
    #expect(Self.emit(packet, [UInt8](repeating: 1, count: most)).count == HandoffPacket.limit)
    #expect(packet.length(requestBytes: most + 1) > HandoffPacket.limit)
  }

  @Test func windowsAreThoseOfTheField() {
    for (window, shift, field) in [
      (0, nil, 0), (65_535, nil, 65_535), (1 << 30, nil, 65_535), (65_535 << 14, 14, 65_535), (511, 9, 0), (512, 9, 1),
    ] as [(UInt32, UInt8?, UInt16)] {
      var snapshot = Self.full.snapshot
      snapshot.sendWindow = window
      snapshot.windowScale = shift.map { .init(send: $0, receive: 7) }
      #expect(snapshot.segment(requestBytes: 1).window == field, "\(window) \(shift ?? 0)")
    }
  }

  @Test func originsAreOfProcessAndWorker() {
    let values = [
      HandoffOrigin.value(instance: 1, name: "node/0"), HandoffOrigin.value(instance: 1, name: "node/1"),
      HandoffOrigin.value(instance: 2, name: "node/0"), HandoffOrigin.value(instance: 1, name: ""),
    ]
    #expect(Set(values).count == values.count && !values.contains(0))
    #expect(values[0] == HandoffOrigin.value(instance: 1, name: "node/0"))
  }
}
