// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Handoff
import Testing
import Wire

/// Whatever the network does to a client's segments, what is handed off is what the client sent.
@Suite struct PropertyTests {
  /// A client that sends `text` in segments of its choice, keeps what is not acknowledged, and sends it again.
  private struct Sender {
    var client: Client
    let text: [UInt8]
    let closes: Bool
    /// Bytes that we have acknowledged; nil before the SYN-ACK came.
    var acknowledged: Int?
    var decision: HandoffID?
    /// The prefix that was handed off, and packets that came to the back-end after it.
    var request: String?
    var delivered: [Sent] = []

    init(_ client: Client, _ random: inout SplitMix) {
      self.client = client
      let head = "GET /\(random.below(100_000)) HTTP/1.1\r\nHost: example.org\r\n"
      let filler = "X-Filler: " + String(repeating: "f", count: random.below(6_000)) + "\r\n"
      text = Array((head + filler + "\r\n" + String(repeating: "body", count: random.below(500))).utf8)
      closes = random.chance(30)
    }

    /// Some packets that a client in this state may have in flight.
    func packets(_ random: inout SplitMix) -> [[UInt8]] {
      guard let acknowledged else { return [client.packet(.syn, at: -1, options: client.options)] }
      var packets = [client.packet(.ack, at: 0)]
      var offset = acknowledged
      while offset < text.count, packets.count < 12 {
        // Boundaries differ from one transmission to the next, so retransmissions overlap.
        let start = max(0, offset - random.below(40))
        let end = min(text.count, offset + 1 + random.below(1_400))
        packets.append(client.packet([.ack, .psh], at: start, text[start..<end]))
        offset = end
      }
      if closes, offset == text.count { packets.append(client.packet([.ack, .fin], at: text.count)) }
      return packets
    }
  }

  @Test("Loss, reordering, duplication", arguments: (1...60).map { UInt64($0) }) func anyNetwork(seed: UInt64) throws {
    var random = SplitMix(seed: seed)
    let loss = UInt64(random.below(40))
    let duplication = UInt64(random.below(30))
    let cookies = random.chance(30)
    let rig = Rig { if cookies { $0.maximumEmbryonic = 1 } }
    var senders: [Sender] = []
    for index in 0..<6 {
      var options = Client.allOptions
      if random.chance(30) { options.timestamps = nil }
      if random.chance(30) { options.windowScale = nil }
      let client = Client(rig, port: UInt16(1_000 + index), v6: random.chance(50), options: options)
      client.initial = SequenceNumber(UInt32(truncatingIfNeeded: random.next()))
      client.window = 500
      senders.append(Sender(client, &random))
    }
    var asked: [(HandoffID, sender: Int)] = []
    for _ in 0..<400 where senders.contains(where: { $0.request == nil }) {
      var flight: [(sender: Int, packet: [UInt8])] = []
      for index in senders.indices where senders[index].request == nil || random.chance(30) {
        flight += senders[index].packets(&random).map { (index, $0) }
      }
      flight.removeAll { _ in random.chance(loss) }
      flight += flight.filter { _ in random.chance(duplication) }
      if random.chance(70) { flight.shuffle(using: &random) }
      for (index, packet) in flight {
        note(try rig.receive(packet), &senders, index, &asked, &random, loss: loss)
        if random.chance(20), !asked.isEmpty { try step(rig, &senders, &asked, &random) }
      }
      if !asked.isEmpty { try step(rig, &senders, &asked, &random) }
      _ = try rig.pass(nanoseconds: random.next() % 40_000_000)
    }
    for (index, sender) in senders.enumerated() {
      let context = "seed \(seed) loss \(loss) % duplication \(duplication) % cookies \(cookies) sender \(index)"
      guard let request = sender.request else {
        Issue.record("not handed off: \(context)")
        continue
      }
      #expect(Array(request.utf8) == Array(sender.text[..<request.utf8.count]), "\(context)")
      #expect(request.contains("\r\n\r\n"), "\(context)")
      for sent in sender.delivered where !sent.payload.isEmpty {
        let offset = sender.client.initial.distance(to: sent.segment.sequence) - 1
        #expect(sent.payload == Array(sender.text[offset..<offset + sent.payload.count]), "\(context)")
      }
    }
    #expect(rig.counters.connections[.handedOff] == 6, "seed \(seed)")
    #expect(rig.counters.connectionsOpened == 6, "seed \(seed): nothing was opened twice")
    try rig.expectEmptyAfterAll("seed \(seed)")
  }

  private func note(
    _ events: [Event], _ senders: inout [Sender], _ index: Int, _ asked: inout [(HandoffID, sender: Int)],
    _ random: inout SplitMix, loss: UInt64
  ) {
    for event in events {
      switch event {
      case .transmit(let sent):
        if random.chance(loss) { continue }
        if sent.segment.flags == [.syn, .ack] {
          if senders[index].acknowledged == nil {
            senders[index].client.learn([event])
            senders[index].acknowledged = 0
          }
        } else if sent.segment.flags == .ack, let before = senders[index].acknowledged {
          let acknowledged = senders[index].client.initial.distance(to: sent.segment.acknowledgment) - 1
          senders[index].acknowledged = max(before, acknowledged)
        }
      case .decide(let id, _, _, _): asked.append((id, sender: index))
      case .handOff, .abort, .established, .returned, .unknown: break
      case .deliver(let sent, _): senders[index].delivered.append(sent)
      }
    }
  }

  /// The dispatcher or a back-end answers one of the questions, in any order, sometimes by refusing.
  private func step(
    _ rig: Rig, _ senders: inout [Sender], _ asked: inout [(HandoffID, sender: Int)], _ random: inout SplitMix
  ) throws {
    let (id, index) = asked.remove(at: random.below(asked.count))
    for event in try rig.decided(id, .backEnd(1)) {
      guard case .handOff(_, _, let snapshot, let request) = event else { continue }
      let end = senders[index].client.initial.advanced(by: 1 + request.utf8.count)
      #expect(snapshot.receiveNext == end)
      // Packets that come while the back-end thinks.
      for packet in senders[index].packets(&random) where random.chance(50) {
        note(try rig.receive(packet), &senders, index, &asked, &random, loss: 0)
      }
      if random.chance(25) {
        note(try rig.refused(id, .overloaded), &senders, index, &asked, &random, loss: 0)
        if senders[index].request == nil, let last = asked.last, last.sender == index {
          asked.removeLast()
          note(try rig.decided(last.0, .backEnd(2)), &senders, index, &asked, &random, loss: 0)
          senders[index].request = request
          note(try rig.accepted(last.0, by: 2), &senders, index, &asked, &random, loss: 0)
        }
      } else {
        senders[index].request = request
        note(try rig.accepted(id, by: 1), &senders, index, &asked, &random, loss: 0)
      }
    }
  }

  // MARK: Garbage

  @Test("Garbage never traps and every packet is counted once", arguments: (1...20).map { UInt64($0) })
  func garbage(seed: UInt64) throws {
    var random = SplitMix(seed: seed)
    let rig = Rig {
      $0.maximumConnections = 8
      $0.maximumEmbryonic = 3
      $0.maximumBufferBytes = 16_384
      $0.maximumHeldBytes = 8_192
      // Most of the damage is to be seen by the responder, not by the checksum.
      $0.verifiesChecksums = random.chance(20)
    }
    var names: [HandoffID] = []
    // Our number towards each port, so that acknowledgments are often right.
    var initials = Array(repeating: SequenceNumber(0), count: 13)
    let texts = [Client.get, "GET / HT", "\u{1}", "HEAD / HTTP/3.0\r\n\r\n", "TP/1.1\r\nHost: a\r\n\r\n", "", "x"]
    for _ in 0..<4_000 {
      let client = Client(rig, port: UInt16(1 + random.below(12)), v6: random.chance(30))
      client.initial = SequenceNumber([0, 0xffff_fff0, 0x7fff_ffff][random.below(3)])
      client.serverInitial = initials[Int(client.source.port)]
      var flags = TCPFlags(rawValue: UInt8(truncatingIfNeeded: random.next() & 0x3f))
      if random.chance(60) { flags = [.syn, .ack, [.ack, .fin], .rst, [.ack, .psh]][random.below(5)] }
      let offset = random.chance(70) ? (flags == .syn ? -1 : 0) : [-5, 1, 8, 60, 70_000, 1 << 30][random.below(6)]
      if random.chance(20) { client.timestamps = nil }
      var packet = client.packet(
        flags, at: offset, Array(texts[random.below(texts.count)].utf8), acknowledging: random.chance(80) ? 0 : 3,
        window: UInt16(truncatingIfNeeded: random.next()))
      if random.chance(40) {
        for _ in 0...random.below(4) {
          packet[random.below(packet.count)] = UInt8(truncatingIfNeeded: random.next())
        }
      }
      if random.chance(5) { packet.removeLast(random.below(packet.count)) }
      let events = try rig.receive(packet)
      for event in events {
        switch event {
        case .transmit(let sent) where sent.segment.flags == [.syn, .ack]:
          initials[min(Int(sent.segment.destination.port), 12)] = sent.segment.sequence
        case .decide(let id, _, _, _): names.append(id)
        default: break
        }
      }
      if random.chance(15), let id = names.randomElement(using: &random) {
        switch random.below(5) {
        case 0: names += try rig.refused(id, .overloaded).compactMap { [$0].decision }
        case 1: _ = try rig.accepted(id, by: UInt16(random.below(3)))
        case 2: names += try rig.lost(UInt16(random.below(3))).compactMap { [$0].decision }
        case 3: _ = try rig.decided(id, .noBackEnd)
        default: _ = try rig.decided(id, .backEnd(UInt16(random.below(3))))
        }
      }
      if random.chance(10) {
        names += try rig.pass(nanoseconds: random.next() % 3_000_000_000).compactMap { [$0].decision }
      }
      if names.count > 50 { names.removeFirst(25) }
    }
    #expect(rig.counters.packetsReceived == 4_000, "seed \(seed)")
    #expect(rig.counters.connectionsOpened > 20, "seed \(seed): the garbage must reach the inner states")
    try rig.expectEmptyAfterAll("seed \(seed)")
  }
}
