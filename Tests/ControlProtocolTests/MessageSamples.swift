// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import Handoff
import Rules
import Wire

/// One message of each kind with telling field values, and the bytes that it must be on the wire.
enum MessageSamples {
  struct Golden: Sendable, CustomStringConvertible {
    var description: String
    var message: Message
    /// Header and body; spaces separate fields.
    var hex: String
  }

  static let snapshot = TCPSnapshot(
    flow: FlowTuple(
      client: Endpoint(IPAddress(ipv4: 0xc000_0201), 51_234),
      service: Endpoint(IPAddress(high: 0x2001_0db8_0000_0000, low: 7), 80)),
    sendNext: SequenceNumber(0x0102_0304), receiveNext: SequenceNumber(0x1112_1314),
    clientInitialSequence: SequenceNumber(0x1112_1301), sendWindow: 64_240, receiveWindow: 65_535,
    maximumSegmentSize: 1460, windowScale: .init(send: 7, receive: 10), sackPermitted: true,
    timestamps: .init(nextValue: 0xa1a2_a3a4, recent: 0xb1b2_b3b4))

  static let registration = BackEndRegistration(
    address: IPAddress(ipv4: 0x0a00_0003), mac: MACAddress(bits: 0x0201_0203_0405), handoffPort: 7001,
    serverPort: 8080, weight: 100, maximumConnections: 20_000, pools: ["api", "x"])

  static let golden: [Golden] = [
    Golden(
      description: "hello",
      message: .hello(Hello(version: 1, role: .backEnd, instance: 0x0102_0304_0506_0708, name: "node-ü")),
      hex: "00000013 01000000 0001 03 0102030405060708 07 6e6f64652dc3bc"),
    Golden(description: "ping", message: .ping, hex: "00000000 02000000"),
    Golden(description: "pong", message: .pong, hex: "00000000 03000000"),
    Golden(description: "goodbye", message: .goodbye("bye"), hex: "00000004 04000000 03 627965"),
    Golden(
      description: "registerBackEnd", message: .registerBackEnd(registration),
      hex: """
        00000027 10000000 00000000000000000000ffff0a000003 020102030405 1b59 1f90 0064 00004e20 02 03617069 0178
        """),
    Golden(
      description: "registerDistributor",
      message: .registerDistributor(DistributorRegistration(services: [Endpoint(IPAddress(ipv4: 0x0a00_0001), 80)])),
      hex: "00000014 11000000 0001 00000000000000000000ffff0a000001 0050"),
    Golden(
      description: "loadReport", message: .loadReport(LoadReport(ended: 3, active: 0x0102_0304, state: .draining)),
      hex: "00000009 12000000 00000003 01020304 02"),
    Golden(
      description: "decisionRequests",
      message: .decisionRequests([
        DecisionRequest(
          id: 1, target: 0x1122_3344_5566_7788,
          route: Route(pool: PoolID(rawValue: 0x0102_0304), affinity: Affinity(key: 5, seed: 6, lifetime: 1800)),
          excluded: BackEndID(0)),
        DecisionRequest(id: 2, target: 9),
      ]),
      hex: """
        00000058 13000000
        0000000000000001 1122334455667788 0000000000000005 0000000000000006 00000708 01020304 0000 0000
        0000000000000002 0000000000000009 0000000000000000 0000000000000000 00000000 00000000 ffff 0000
        """),
    Golden(
      description: "assignmentsReturned", message: .assignmentsReturned([BackEndID(1), BackEndID(0x0203)]),
      hex: "00000004 14000000 0001 0203"),
    Golden(
      description: "leaseAccounts",
      message: .leaseAccounts([
        LeaseAccount(
          target: 0x1122_3344_5566_7788, pool: PoolID(rawValue: 0x0102_0304), backEnd: BackEndID(5), term: 0x0a0b_0c0d,
          used: 3, returned: 0x0102)
      ]),
      hex: "00000018 1d000000 1122334455667788 01020304 0a0b0c0d 0005 0003 0102 0000"),
    Golden(
      description: "leaseCredits",
      message: .leaseCredits([LeaseCredit(backEnd: BackEndID(5), credits: 0x0102, term: 0x0a0b_0c0d)]),
      hex: "00000008 23000000 0a0b0c0d 0005 0102"),
    Golden(
      description: "clusterView",
      message: .clusterView(
        ClusterView(
          epoch: 5,
          backEnds: [
            BackEndDescription(id: BackEndID(4), name: "b", state: .up, instance: 6, registration: registration)
          ],
          services: [Endpoint(IPAddress(ipv4: 0x0a00_0001), 443)])),
      hex: """
        00000052 20000000 0000000000000005
        0001 0004 01 0000000000000006 01 62
        00000000000000000000ffff0a000003 020102030405 1b59 1f90 0064 00004e20 02 03617069 0178
        0001 00000000000000000000ffff0a000001 01bb
        """),
    Golden(
      description: "rules",
      message: .rules(
        RuleSet(
          rules: [
            Rule(
              name: "r", hosts: [Rule.HostPattern(name: "h", coversSubdomains: true)], paths: ["/a"],
              methods: ["GET"],
              cookies: [Rule.CookieCondition(name: "c"), Rule.CookieCondition(name: "d", value: "e")],
              clients: [Rule.AddressPrefix(IPAddress(ipv4: 0x0a00_0000), length: 104)], pool: "api",
              stickiness: Rule.Stickiness(.cookie("s"), lifetime: 60)),
            Rule(stickiness: Rule.Stickiness(.client, lifetime: 1)),
          ], keyHigh: 1, keyLow: 2)),
      hex: """
        00000054 22000000 0000000000000001 0000000000000002 0002
        0172 03617069 02 0173 0000003c 01 0168 01 01 022f61 01 03474554 02 0163 00 0164 01 0165
        01 00000000000000000000ffff0a000000 68
        00 00 01 00 00000001 00 00 00 00 00
        """),
    Golden(
      description: "decisions",
      message: .decisions([
        Decision(id: 1, outcome: .assigned(BackEndID(0x0102))), Decision(id: 2, outcome: .noBackEnd),
        Decision(id: 3, outcome: .overloaded),
        Decision(
          id: 4, outcome: .assigned(BackEndID(5)), lease: Lease(credits: 32, milliseconds: 100, term: 0x0a0b_0c0d)),
      ]),
      hex: """
        00000050 21000000
        0000000000000001 01 00 0102 0000 0000 00000000
        0000000000000002 02 00 0000 0000 0000 00000000
        0000000000000003 03 00 0000 0000 0000 00000000
        0000000000000004 01 00 0005 0064 0020 0a0b0c0d
        """),
    Golden(
      description: "handoff",
      message: .handoff(
        HandoffRequest(id: HandoffID(slot: 2, generation: 1), snapshot: snapshot, request: [0x47, 0x45, 0x54])),
      hex: """
        00000051 30000000 0000000100000002
        00000000000000000000ffffc0000201 c822 20010db8000000000000000000000007 0050
        01020304 11121314 11121301 0000faf0 0000ffff 05b4 07 07 0a 00 a1a2a3a4 b1b2b3b4
        474554
        """),
    Golden(
      description: "handoffAccepted", message: .handoffAccepted(HandoffID(0x0102_0304_0506_0708)),
      hex: "00000008 31000000 0102030405060708"),
    Golden(
      description: "handoffRefused", message: .handoffRefused(HandoffID(1), .tupleInUse),
      hex: "00000009 32000000 0000000000000001 04"),
    Golden(
      description: "handoffsEnded", message: .handoffsEnded([HandoffID(1), HandoffID(2)]),
      hex: "00000010 33000000 0000000000000001 0000000000000002"),
    Golden(
      description: "handoffsCut", message: .handoffsCut([HandoffID(0x0102_0304_0506_0708)]),
      hex: "00000008 38000000 0102030405060708"),
    Golden(
      description: "flowsEnded", message: .flowsEnded([snapshot.flow]),
      hex: """
        00000024 39000000
        00000000000000000000ffffc0000201 c822 20010db8000000000000000000000007 0050
        """),
    Golden(
      description: "targetLeases",
      message: .targetLeases([TargetLease(target: 0x0102_0304_0506_0708, backEnd: BackEndID(3), milliseconds: 60_000)]),
      hex: "0000000c 24000000 0102030405060708 0003 ea60"),
    Golden(
      description: "flowsHeld", message: .flowsHeld([snapshot.flow]),
      hex: """
        00000024 3a000000
        00000000000000000000ffffc0000201 c822 20010db8000000000000000000000007 0050
        """),
    Golden(
      description: "handoff, sent by packet before",
      message: .handoff(
        HandoffRequest(
          id: HandoffID(slot: 2, generation: 1), snapshot: snapshot, request: [0x47], wasSentByPacket: true)),
      hex: """
        0000004f 30000000 0000000100000002
        00000000000000000000ffffc0000201 c822 20010db8000000000000000000000007 0050
        01020304 11121314 11121301 0000faf0 0000ffff 05b4 0f 07 0a 00 a1a2a3a4 b1b2b3b4
        47
        """),
    Golden(
      description: "packetHandoffs",
      message: .packetHandoffs(
        PacketHandoffOffer(
          port: 7003, key: HandoffPacketKey(0x0102_0304_0506_0708, 9), loop: 3, takesIPv4: true, takesIPv6: false)),
      hex: "00000014 35000000 1b5b 03 01 0102030405060708 0000000000000009"),
    Golden(
      description: "handoffsAccepted", message: .handoffsAccepted([HandoffID(1), HandoffID(2)]),
      hex: "00000010 36000000 0000000000000001 0000000000000002"),
    Golden(
      description: "handoffWanted", message: .handoffWanted(HandoffID(7)),
      hex: "00000008 37000000 0000000000000007"),
    Golden(
      description: "abortHandoff", message: .abortHandoff(HandoffID(7)), hex: "00000008 34000000 0000000000000007"),
  ]

  static func bytes(_ hex: String) -> [UInt8] {
    let digits = hex.compactMap { $0.hexDigitValue }
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
  }

  static func encoded(_ message: Message) -> [UInt8] {
    var bytes: [UInt8] = []
    message.encode(into: &bytes)
    return bytes
  }

  /// Reads every frame in `bytes`, as a receiver does.
  static func decodeAll(_ bytes: [UInt8]) throws(ControlProtocolError) -> [Message] {
    var messages: [Message] = []
    var offset = 0
    while let header = try FrameHeader.parse(bytes.span, at: offset) {
      let start = offset + FrameHeader.length
      guard bytes.count >= start + header.bodyLength else { break }
      messages.append(
        try Message.decode(type: header.type, body: bytes.span.extracting(start..<start + header.bodyLength)))
      offset = start + header.bodyLength
    }
    return messages
  }
}

/// A splitmix64 stream: the same seed gives the same test everywhere.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
