// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import ForwardingPlane
import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

/// The program's SYN-ACKs, byte for byte those of the responder in user space.
struct CookieAgreementTests {
  /// An option of a SYN as bytes.
  private static func option(_ kind: Int, _ random: inout SeededRandom) -> [UInt8] {
    func byte() -> UInt8 { UInt8.random(in: 0...255, using: &random) }
    switch kind {
    case 0:
      let size = [0, 100, 536, 1023, 1024, 1219, 1300, 1379, 1412, 1440, 1459, 1460, 8_960, 65_535].randomElement(
        using: &random)!
      return [2, 4, UInt8(size >> 8), UInt8(size & 255)]
    case 1: return [3, 3, UInt8.random(in: 0...20, using: &random)]
    case 2: return [4, 2]
    case 3: return [8, 10, byte(), byte(), byte(), byte(), 0, 0, 0, 0]
    case 4: return [1]
    default:
      // One that nobody knows.
      let length = UInt8.random(in: 2...6, using: &random)
      return [253, length] + (2..<length).map { _ in byte() }
    }
  }

  private static func options(_ random: inout SeededRandom) -> [UInt8] {
    var bytes: [UInt8] = []
    for kind in (0..<6).shuffled(using: &random) where Bool.random(using: &random) {
      let next = option(kind, &random)
      if bytes.count + next.count <= 40 { bytes += next }
    }
    return bytes
  }

  private static func flow(_ isIPv4: Bool, _ random: inout SeededRandom) -> FlowTuple {
    let port = UInt16.random(in: 1...65_535, using: &random)
    let address =
      isIPv4
      ? IPAddress(ipv4: UInt32.random(in: 0x0100_0000..<0xe000_0000, using: &random))
      : IPAddress(high: 0x2001_0db8_0000_0000 | random.next() >> 32, low: random.next())
    return FlowTuple(
      client: Endpoint(address, port), service: isIPv4 ? Addresses.service4 : Addresses.service6)
  }

  @Test(arguments: [1, 2, 3, 4] as [UInt64])
  func randomHandshakes(seed: UInt64) throws {
    let interface = try TestInterface()
    let plane = try interface.attach()
    try plane.setServices([Addresses.service4, Addresses.service6])
    let handshake = Handshake(seed: seed)
    handshake.start(plane.handshake)
    let index = interface.index
    try interface.namespace.perform {
      var random = SeededRandom(seed: seed)
      for round in 0..<300 {
        let flow = Self.flow(Bool.random(using: &random), &random)
        let checksum = Frame.Checksum.allCases.randomElement(using: &random)!
        let syn = Frame.raw(
          flow, [.syn, .ece, .cwr], sequence: UInt32.random(in: 0 ... .max, using: &random),
          options: Self.options(&random), checksum: checksum)
        let context = "seed \(seed), round \(round): \(syn.bytes)"
        let started = CoarseClock.now()
        let seen = try plane.run(syn, interface: index)
        // Where it is both the answer has to be both (HandshakeTests).
        if syn == syn.checksummed(flow, .right), syn == syn.checksummed(flow, .open) { continue }
        try expect(seen.outcomes == [.synAnswered] && seen.verdict == .redirect, "\(seen.outcomes): \(context)")
        try expect(
          Self.isAnswer(seen.frame, to: syn, flow, checksum, handshake, started...MonotonicTime.now()), context)
      }
    }
  }

  /// Whether the frame is what the responder would have sent at some time between the two; the first is to be one of the
  /// program's clock.
  static func isAnswer(
    _ frame: Frame, to syn: Frame, _ flow: FlowTuple, _ checksum: Frame.Checksum, _ handshake: Handshake,
    _ times: ClosedRange<UInt64>
  ) -> Bool {
    var time = times.lowerBound
    let ethernet = Addresses.routerMAC.bytes + Addresses.ownMAC.bytes + syn.bytes[12..<14]
    while time <= times.upperBound {
      if let answer = handshake.answer(to: syn.packet, at: time) {
        let expected = Frame(bytes: ethernet + answer)
        // The two ends change places; the sums do not care.
        if frame == (checksum == .right ? expected : expected.checksummed(flow, .open)) { return true }
      }
      time += 500_000
    }
    return false
  }

  /// What the program answered, user space takes: the whole way of a request, with its options.
  @Test(arguments: [Addresses.flow4, Addresses.flow6])
  func userSpaceTakesTheCookie(flow: FlowTuple) throws {
    let interface = try TestInterface()
    let plane = try interface.attach()
    try plane.setServices([Addresses.service4, Addresses.service6])
    let handshake = Handshake(seed: 9)
    handshake.start(plane.handshake)
    let index = interface.index
    let syn = Frame.raw(
      flow, .syn, sequence: 4_000_000_000,
      options: [2, 4, 0x05, 0x64, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 9])
    let seen = try interface.namespace.perform { try plane.run(syn, interface: index) }
    let synAck = try TCPSegment.parse(seen.frame.packet.span).segment
    let timestamps = try #require(synAck.options.timestamps)
    #expect(timestamps.echo == 9)
    #expect(synAck.options.windowScale == 7 && synAck.options.sackPermitted)

    var random = SeededRandom(seed: 4)
    var configuration = ResponderConfiguration(targetKey: KeyedHash(1, 2))
    configuration.handshakeInKernel = true
    let now = MonotonicTime.now()
    var responder = Responder(
      configuration: configuration, keys: ResponderKeys(handshake: handshake.keys, using: &random),
      services: [flow.service], now: now)
    var actions = ActionList()
    let request = TCPSegment(
      source: flow.client, destination: flow.service, sequence: SequenceNumber(4_000_000_001),
      acknowledgment: synAck.sequence.advanced(by: 1), flags: [.ack, .psh], window: 500,
      options: TCPOptions(timestamps: TCPTimestamps(value: 10, echo: timestamps.value)))
    let text = Array("GET / HTTP/1.0\r\n\r\n".utf8)
    var packet = [UInt8](repeating: 0, count: request.headerLength + text.count)
    var span = packet.mutableSpan
    _ = request.emit(payload: text.span, into: &span)
    responder.receive(packet.span, now: now, into: &actions)
    #expect(responder.counters.packets[.cookieAccepted] == 1)
    guard case .decide(let id, _, _, _)? = actions.actions.first else {
      Issue.record("no decision is wanted: \(actions.actions)")
      return
    }
    responder.decided(id, .backEnd(1), now: now, into: &actions)
    guard case .handOff(_, _, let snapshot, _, _)? = actions.actions.last else {
      Issue.record("no handoff: \(actions.actions)")
      return
    }
    #expect(snapshot.maximumSegmentSize == 1380)
    #expect(snapshot.windowScale?.send == 9 && snapshot.windowScale?.receive == 7)
    #expect(snapshot.sackPermitted)
    // The segment is acknowledged by the back-end, not here.
    #expect(actions.actions.count == 2)
  }
}
