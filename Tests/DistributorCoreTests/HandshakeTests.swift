// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Handoff
import Testing
import Wire

@Suite struct HandshakeTests {
  struct Offer: Sendable, CustomTestStringConvertible {
    var name: String
    var v6 = false
    var offered: TCPOptions
    var expected: TCPOptions
    var testDescription: String { name }
  }

  static let clock = TCPTimestamps(value: 7_000, echo: 0)
  static let offers = [
    Offer(
      name: "everything, IPv4", offered: Client.allOptions,
      expected: TCPOptions(maximumSegmentSize: 1460, windowScale: 7, sackPermitted: true, timestamps: clock)),
    Offer(
      name: "everything, IPv6", v6: true, offered: Client.allOptions,
      expected: TCPOptions(maximumSegmentSize: 1440, windowScale: 7, sackPermitted: true, timestamps: clock)),
    Offer(name: "nothing", offered: TCPOptions(), expected: TCPOptions(maximumSegmentSize: 1460)),
    Offer(
      name: "window scale only", offered: TCPOptions(windowScale: 0),
      expected: TCPOptions(maximumSegmentSize: 1460, windowScale: 7)),
    Offer(
      name: "SACK only", offered: TCPOptions(maximumSegmentSize: 900, sackPermitted: true),
      expected: TCPOptions(maximumSegmentSize: 1460, sackPermitted: true)),
    Offer(
      name: "timestamps only", offered: TCPOptions(timestamps: clock),
      expected: TCPOptions(maximumSegmentSize: 1460, timestamps: clock)),
  ]

  @Test("The SYN-ACK negotiates what the client offers and no more", arguments: offers)
  func negotiation(_ offer: Offer) throws {
    let rig = Rig()
    let client = Client(rig, v6: offer.v6, options: offer.offered)
    let synAck = try client.syn().onlySegment()
    client.learn([.transmit(synAck)])
    synAck.expect([.syn, .ack], from: client, at: -1, acknowledging: 0, "")
    #expect(synAck.segment.window == 65_535)
    var options = synAck.segment.options
    #expect(options.timestamps?.echo == offer.expected.timestamps?.value, "TSecr is the client's TSval")
    options.timestamps = offer.expected.timestamps
    #expect(options == offer.expected)
    #expect(rig.counters.embryonic == 1)
    #expect(rig.counters.bufferBytes == 0, "an embryonic connection costs no buffer")
    #expect(try client.send(.ack).isEmpty)
    #expect(rig.openConnections == 1)
    #expect(rig.counters.bufferBytes == 0, "an idle connection costs no buffer")
    #expect(rig.counters.packets[.handshakeCompleted] == 1)
  }

  @Test func repeatedSynGetsTheSameAnswer() throws {
    let rig = Rig()
    let client = Client(rig)
    let first = try client.syn().onlySegment()
    _ = try rig.pass(seconds: 0.3)
    let second = try client.syn().onlySegment()
    #expect(second.segment.sequence == first.segment.sequence)
    #expect(second.segment.options.timestamps!.value == first.segment.options.timestamps!.value + 300)
    #expect(rig.counters.packets[.synRepeated] == 1)
    #expect(rig.counters.handshakesStarted == 1)
  }

  @Test func synAckIsRetransmittedWithBackoffAndGivenUp() throws {
    let rig = Rig()
    let client = Client(rig)
    _ = try client.syn()
    let start = rig.now
    var times: [Double] = []
    while rig.counters.embryonic == 1 {
      let events = try rig.pass(seconds: 0.01)
      for sent in events.segments {
        #expect(sent.segment.flags == [.syn, .ack])
        times.append(Double(rig.now - start) / 1e9)
      }
    }
    #expect(times.count == 3)
    for (time, wanted) in zip(times, [1.0, 3.0, 7.0]) { #expect(abs(time - wanted) < 0.05, "\(times)") }
    #expect(abs(Double(rig.now - start) / 1e9 - 15) < 0.1)
    #expect(rig.counters.handshakes[.timedOut] == 1)
    try rig.expectEmptyAfterAll()
  }

  @Test func initialSequenceNumbersDifferByFlowAndGrowWithTime() throws {
    let rig = Rig()
    let one = try Client(rig, port: 1_000).syn().onlySegment().segment.sequence
    let other = try Client(rig, port: 1_001).syn().onlySegment().segment.sequence
    #expect(one != other)
    let again = Client(rig, port: 1_000)
    #expect(try again.send(.rst).isEmpty)
    #expect(rig.counters.handshakes[.reset] == 1)
    _ = try rig.pass(seconds: 1)
    let later = try again.syn().onlySegment().segment.sequence
    #expect(one.distance(to: later) == 250_000, "a tick is 4 us")
  }

  struct Refusal: Sendable, CustomTestStringConvertible {
    var name: String
    var packet: @Sendable (Client) -> [UInt8]
    var outcome: PacketOutcome
    /// Flags of the answer, nil when there is none.
    var answer: TCPFlags?
    var testDescription: String { name }
  }

  static let inSynReceived: [Refusal] = [
    Refusal(
      name: "acknowledges too much", packet: { $0.packet(.ack, acknowledging: 1) }, outcome: .handshakeRefused,
      answer: .rst),
    Refusal(
      name: "acknowledges nothing", packet: { $0.packet(.ack, acknowledging: -1) }, outcome: .handshakeRefused,
      answer: .rst),
    Refusal(name: "reset at rcv.nxt", packet: { $0.packet(.rst) }, outcome: .resetAccepted),
    Refusal(name: "reset in the window", packet: { $0.packet(.rst, at: 5) }, outcome: .resetChallenged, answer: .ack),
    Refusal(name: "reset before the window", packet: { $0.packet(.rst, at: -2) }, outcome: .resetIgnored),
    Refusal(name: "reset behind the window", packet: { $0.packet(.rst, at: 70_000) }, outcome: .resetIgnored),
    Refusal(
      name: "SYN with another number",
      packet: { $0.packet(.syn, at: 99, options: $0.options) }, outcome: .synChallenged, answer: .ack),
    Refusal(name: "SYN and ACK", packet: { $0.packet([.syn, .ack]) }, outcome: .synChallenged, answer: .ack),
    Refusal(name: "SYN and FIN", packet: { $0.packet([.syn, .fin]) }, outcome: .implausible),
    Refusal(name: "SYN and RST", packet: { $0.packet([.syn, .rst]) }, outcome: .implausible),
    Refusal(name: "neither ACK nor RST", packet: { $0.packet([]) }, outcome: .acknowledgmentMissing),
    Refusal(
      name: "no timestamps though negotiated", packet: { $0.packet(.ack, options: TCPOptions()) },
      outcome: .timestampMissing),
    Refusal(
      name: "timestamps run backwards",
      packet: { $0.packet(.ack, options: TCPOptions(timestamps: TCPTimestamps(value: 6_999, echo: 0))) },
      outcome: .timestampOld, answer: .ack),
    Refusal(
      name: "data behind the window", packet: { $0.packet(.ack, at: 65_535, [1]) }, outcome: .outOfWindow, answer: .ack),
  ]

  @Test("In SYN-RECEIVED", arguments: inSynReceived)
  func synReceived(_ refusal: Refusal) throws {
    let rig = Rig()
    let client = Client(rig)
    client.learn(try client.syn())
    let events = try rig.receive(refusal.packet(client))
    #expect(rig.counters.packets[refusal.outcome] == 1, "\(rig.counters.packets.all.filter { $0.value > 0 })")
    #expect(events.segments.map(\.segment.flags.names) == (refusal.answer.map { [$0.names] } ?? []))
    if refusal.outcome == .handshakeRefused {
      let asked = try TCPSegment.parse(refusal.packet(client).span).segment.acknowledgment
      #expect(events.segments[0].segment.sequence == asked, "the reset is at SEG.ACK")
    }
    #expect(rig.counters.embryonic == (refusal.outcome == .resetAccepted ? 0 : 1))
    try rig.expectEmptyAfterAll()
  }

  @Test func dataOnTheSynIsNotAcknowledged() throws {
    let rig = Rig()
    let client = Client(rig)
    let events = try rig.receive(client.packet(.syn, at: -1, "GET ".utf8, options: client.options))
    client.learn(events)
    try events.onlySegment().expect([.syn, .ack], from: client, at: -1, acknowledging: 0)
  }

  @Test func dataOnTheHandshakesAcknowledgmentIsTaken() throws {
    let rig = Rig()
    let client = Client(rig)
    client.learn(try client.syn())
    _ = try client.request()
    #expect(rig.counters.packets[.handshakeCompleted] == 1)
  }

  static let strangers: [Refusal] = [
    Refusal(
      name: "another port",
      packet: { client in
        PacketBuilder.packet(
          TCPSegment(
            source: client.source, destination: Endpoint(client.service.address, 81), sequence: .init(1), flags: .syn),
          [])
      }, outcome: .notService),
    Refusal(
      name: "from port 0",
      packet: { client in
        PacketBuilder.packet(
          TCPSegment(
            source: Endpoint(client.source.address, 0), destination: client.service, sequence: .init(1), flags: .syn),
          [])
      }, outcome: .implausible),
    Refusal(
      name: "from multicast",
      packet: { client in
        PacketBuilder.packet(
          TCPSegment(
            source: Endpoint(IPAddress(ipv4: 0xe000_0001), 9), destination: client.service, sequence: .init(1),
            flags: .syn), [])
      }, outcome: .badSourceAddress),
    Refusal(
      name: "from itself",
      packet: { client in
        PacketBuilder.packet(
          TCPSegment(source: client.service, destination: client.service, sequence: .init(1), flags: .syn), [])
      }, outcome: .implausible),
    Refusal(name: "acknowledgment of nothing", packet: { $0.packet(.ack) }, outcome: .unknownFlow),
    Refusal(name: "reset of nothing", packet: { $0.packet(.rst) }, outcome: .unknownFlow),
  ]

  @Test("Without a connection", arguments: strangers)
  func closed(_ refusal: Refusal) throws {
    let rig = Rig()
    let client = Client(rig)
    let packet = refusal.packet(client)
    let events = try rig.receive(packet)
    #expect(events == (refusal.outcome == .unknownFlow ? [.unknown(packet)] : []))
    #expect(rig.counters.packets[refusal.outcome] == 1)
    #expect(rig.counters.entries == 0)
  }

  @Test func unknownSegmentsAreRefusedByReset() throws {
    let rig = Rig { $0.resetsPerSecond = 2 }
    let client = Client(rig)
    let withACK = try rig.refuseUnknown(client.packet(.ack, acknowledging: 99)).onlySegment()
    #expect(withACK.segment.flags == .rst)
    #expect(withACK.segment.sequence == SequenceNumber(100))
    let without = try rig.refuseUnknown(client.packet(.fin, at: 4, "ab".utf8)).onlySegment()
    #expect(without.segment.flags == [.rst, .ack])
    #expect(without.segment.sequence == SequenceNumber(0))
    #expect(without.segment.acknowledgment == client.initial.advanced(by: 1 + 4 + 3))
    #expect(try rig.refuseUnknown(client.packet(.rst)).isEmpty, "a reset is not answered")
    #expect(try rig.refuseUnknown(client.packet(.ack)).isEmpty)
    #expect(rig.counters.resetsSuppressed == 1)
    _ = try rig.pass(seconds: 0.6)
    #expect(try rig.refuseUnknown(client.packet(.ack)).count == 1)
  }

  @Test func drainingDropsNewClientsOnly() throws {
    let rig = Rig()
    let old = Client(rig, port: 1)
    old.learn(try old.syn())
    rig.stopAccepting()
    #expect(try Client(rig, port: 2).syn().isEmpty)
    #expect(rig.counters.packets[.synWhileDraining] == 1)
    #expect(try old.syn().count == 1, "a repeated SYN of a handshake under way")
    #expect(try old.send(.ack).isEmpty)
    _ = try old.request()
    #expect(rig.openConnections == 1)
  }

  static let broken: [(String, PacketOutcome, @Sendable (inout [UInt8]) -> Void)] = [
    ("TCP checksum", .badTCPChecksum, { $0[$0.count - 1] ^= 1 }),
    ("IP checksum", .badIPChecksum, { $0[8] ^= 1 }),
    ("cut off", .truncated, { $0.removeLast() }),
    ("version 5", .badIPHeader, { $0[0] = 0x55 }),
  ]

  @Test(arguments: broken.indices) func damagedPacketsAreDropped(_ index: Int) throws {
    let (name, outcome, damage) = HandshakeTests.broken[index]
    let rig = Rig()
    var packet = Client(rig).packet(.syn, at: -1, "x".utf8, options: Client.allOptions)
    damage(&packet)
    #expect(try rig.receive(packet).isEmpty)
    #expect(rig.counters.packets[outcome] == 1, "\(name): \(rig.counters.packets.all.filter { $0.value > 0 })")
  }
}
