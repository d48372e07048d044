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
    /// The handoff that was sent by packet, while nobody has said what became of it.
    var passed: (id: HandoffID, snapshot: TCPSnapshot, request: String)?

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
      let late = try rig.pass(nanoseconds: random.next() % 40_000_000)
      try followPackets(rig, late, &senders, &asked, &random)
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
    let counters = rig.counters
    #expect(counters.packetHandoffsUnconfirmed + counters.packetHandoffsDeclined <= counters.packetHandoffs)
    try rig.expectEmptyAfterAll("seed \(seed)")
  }

  private func note(
    _ events: [Event], _ senders: inout [Sender], _ index: Int, _ asked: inout [(HandoffID, sender: Int)],
    _ random: inout SplitMix, loss: UInt64
  ) {
    for event in events {
      switch event {
      case .handedOff, .disown: preconditionFailure("no kernel hands off here")
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
      case .handOff, .handOffAgain, .withdraw, .closing, .abort, .established, .returned, .unknown: break
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
      if rig.way == .packetOrMessage, random.chance(50) {
        #expect(try rig.passed(id).count == 1)
        senders[index].passed = (id, snapshot, request)
        continue
      }
      // Packets that come while the back-end thinks.
      for packet in senders[index].packets(&random) where random.chance(50) {
        note(try rig.receive(packet), &senders, index, &asked, &random, loss: 0)
      }
      try answer(rig, id, request, &senders, index, &asked, &random)
    }
  }

  /// A back-end answers the message, sometimes by refusing.
  private func answer(
    _ rig: Rig, _ id: HandoffID, _ request: String, _ senders: inout [Sender], _ index: Int,
    _ asked: inout [(HandoffID, sender: Int)], _ random: inout SplitMix
  ) throws {
    guard random.chance(25) else {
      senders[index].request = request
      note(try rig.accepted(id, by: 1), &senders, index, &asked, &random, loss: 0)
      return
    }
    note(try rig.refused(id, .overloaded), &senders, index, &asked, &random, loss: 0)
    if senders[index].request == nil, let last = asked.last, last.sender == index {
      asked.removeLast()
      note(try rig.decided(last.0, .backEnd(2)), &senders, index, &asked, &random, loss: 0)
      senders[index].request = request
      note(try rig.accepted(last.0, by: 2), &senders, index, &asked, &random, loss: 0)
    }
  }

  // MARK: Handoffs by packet

  /// The word about a packet comes, or is lost, or the back-end wants the message.
  private func followPackets(
    _ rig: Rig, _ events: [Event], _ senders: inout [Sender], _ asked: inout [(HandoffID, sender: Int)],
    _ random: inout SplitMix
  ) throws {
    var withdrawals = events
    for index in senders.indices {
      guard let passed = senders[index].passed, !events.contains(.withdraw(passed.id, senders[index].client.flow))
      else {
        continue
      }
      switch random.below(10) {
      case 0, 1, 2:
        senders[index].passed = nil
        senders[index].request = passed.request
        let word = random.chance(50) ? try rig.accepted(passed.id, by: 1) : try rig.ended(passed.id, by: 1)
        #expect(word.isEmpty)
      case 3: withdrawals += try rig.wanted(passed.id, by: 1)
      default: break
      }
    }
    for case .withdraw(let id, _) in withdrawals {
      let index = try #require(senders.firstIndex { $0.passed?.id == id })
      let passed = senders[index].passed!
      senders[index].passed = nil
      switch try rig.withdrawn(id, isAnswered: random.chance(30)).first {
      case .established(id, _, _, backEnd: 1): senders[index].request = passed.request
      case .handOffAgain(id, backEnd: 1, var snapshot, request: passed.request):
        snapshot.timestamps = passed.snapshot.timestamps
        #expect(snapshot == passed.snapshot)
        for packet in senders[index].packets(&random) where random.chance(50) {
          note(try rig.receive(packet), &senders, index, &asked, &random, loss: 0)
        }
        try answer(rig, id, passed.request, &senders, index, &asked, &random)
      case let other: Issue.record("\(String(describing: other)) after a withdrawal")
      }
    }
  }
}
