// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Handoff
import Testing
import Wire

/// Packets, answers and times in any order and state: nothing traps, every packet is counted once, nothing is left.
@Suite struct GarbageTests {
  /// How wild a run is, in percent of packets.
  struct Mix: Sendable, CustomTestStringConvertible {
    var name: String
    var damaged: UInt64
    var oddFlags: UInt64
    var oddNumbers: UInt64
    var testDescription: String { name }
  }

  static let mixes = [
    Mix(name: "wild", damaged: 40, oddFlags: 40, oddNumbers: 40),
    Mix(name: "half sane", damaged: 5, oddFlags: 10, oddNumbers: 15),
    Mix(name: "sane but for order and time", damaged: 0, oddFlags: 0, oddNumbers: 5),
  ]

  /// What a run keeps of earlier answers, so that later packets are often right.
  private struct Memory {
    var names: [HandoffID] = []
    /// Our initial number towards each port.
    var initials = Array(repeating: SequenceNumber(0), count: 13)

    mutating func note(_ events: [Event]) {
      for event in events {
        switch event {
        case .transmit(let sent) where sent.segment.flags == [.syn, .ack]:
          initials[min(Int(sent.segment.destination.port), 12)] = sent.segment.sequence
        case .decide(let id, _, _, _): names.append(id)
        default: break
        }
      }
      if names.count > 40 { names.removeFirst(20) }
    }
  }

  private static let texts = [
    Client.get, Client.get, Client.get + Client.get, "GET / HT", "\u{1}", "HEAD / HTTP/3.0\r\n\r\n",
    "TP/1.1\r\nHost: a\r\n\r\n", "", "x", String(repeating: "y", count: 3_000),
  ]

  @Test(arguments: mixes, (1...8).map { UInt64($0) }) func garbage(_ mix: Mix, seed: UInt64) throws {
    var random = SplitMix(seed: seed)
    let rig = Rig {
      $0.maximumConnections = 8
      $0.maximumEmbryonic = 3
      $0.maximumBufferBytes = 16_384
      $0.maximumHeldBytes = 8_192
      // Most of the damage is to be seen by the responder, not by the checksum.
      $0.checksums = random.chance(20) ? .right : .ignored
    }
    var memory = Memory()
    let rounds = 2_000
    for _ in 0..<rounds {
      memory.note(try rig.receive(packet(rig, mix, memory, &random)))
      if random.chance(50), let last = memory.names.last, let any = memory.names.randomElement(using: &random) {
        let id = random.chance(70) ? last : any
        let backEnd = random.chance(80) ? 1 : UInt16(random.below(3))
        switch random.below(8) {
        case 0: memory.note(try rig.refused(id, .overloaded))
        case 1: memory.note(random.chance(20) ? try rig.lost(backEnd) : [])
        case 2: memory.note(try rig.decided(id, .noBackEnd))
        case 3, 4: memory.note(try rig.accepted(id, by: backEnd))
        default: memory.note(try rig.decided(id, .backEnd(backEnd)))
        }
      }
      if random.chance(5) { memory.note(try rig.pass(nanoseconds: random.next() % 2_000_000_000)) }
    }
    #expect(rig.counters.packetsReceived == UInt64(rounds), "seed \(seed)")
    #expect(rig.counters.connectionsOpened > 10, "seed \(seed): the garbage must reach the inner states")
    if mix.damaged < 10 {
      #expect(rig.counters.attempts[.accepted] > 0, "seed \(seed)")
      let reached = rig.counters.packets.all.filter { $0.value > 0 }.count
      #expect(reached > 20, "seed \(seed): \(reached) outcomes")
    }
    try rig.expectEmptyAfterAll("seed \(seed)")
  }

  private func packet(_ rig: Rig, _ mix: Mix, _ memory: Memory, _ random: inout SplitMix) -> [UInt8] {
    let port = 1 + random.below(12)
    let client = Client(rig, port: UInt16(port), v6: port % 3 == 0)
    client.initial = SequenceNumber(random.chance(90) ? 0xffff_fff0 : 0)
    client.serverInitial = memory.initials[Int(client.source.port)]
    var flags: TCPFlags = [.syn, .ack, [.ack, .fin], .rst, [.ack, .psh], [.ack, .psh]][random.below(6)]
    if random.chance(mix.oddFlags) { flags = TCPFlags(rawValue: UInt8(truncatingIfNeeded: random.next() & 0x3f)) }
    var offset = flags == .syn ? -1 : [0, 0, 0, 8, Client.get.utf8.count][random.below(5)]
    if random.chance(mix.oddNumbers) { offset = [-5, 1, 60, 70_000, 1 << 30][random.below(5)] }
    if random.chance(mix.oddNumbers) { client.timestamps = nil }
    let text = flags.isDisjoint(with: [.syn, .rst]) ? GarbageTests.texts[random.below(GarbageTests.texts.count)] : ""
    var packet = client.packet(
      flags, at: offset, Array(text.utf8), acknowledging: random.chance(mix.oddNumbers) ? 3 : 0,
      window: UInt16(truncatingIfNeeded: random.next()),
      options: flags == .syn ? client.options : nil)
    if random.chance(mix.damaged) {
      for _ in 0...random.below(4) { packet[random.below(packet.count)] = UInt8(truncatingIfNeeded: random.next()) }
    }
    if random.chance(mix.damaged / 8) { packet.removeLast(random.below(packet.count)) }
    return packet
  }
}
