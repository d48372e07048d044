// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Handoff
import Testing
import Wire

/// Connections that the program in the kernel handed off by itself, from the worker's view.
@Suite struct KernelHandoffTests {
  static let backEnd: UInt16 = 3

  /// A connection whose handshake and handoff were the kernel's.
  struct Passed {
    let rig: Rig
    let client: Client
    let handoff: LeasedHandoff

    init(
      _ rig: Rig = KernelHandoffTests.rig(), number: UInt64 = 5, v6: Bool = false, port: UInt16 = 40_000
    ) throws {
      self.rig = rig
      client = Client(rig, port: port, v6: v6)
      client.learn(try client.syn())
      handoff = KernelHandoffTests.handoff(number)
      let packet = client.packet([.ack, .psh], Client.get.utf8)
      #expect(try rig.handedOff(handoff, packet) == [.handedOff(handoff, client.flow)])
    }

    var id: HandoffID { handoff.id }
  }

  static func handoff(_ number: UInt64) -> LeasedHandoff {
    LeasedHandoff(id: HandoffID(1 << 63 | number), backEnd: backEnd, target: 77, term: 1, epoch: 0)
  }

  /// Every SYN gets a cookie, as from the program.
  static func rig() -> Rig {
    Rig {
      $0.handshakeInKernel = true
      $0.maximumEmbryonic = 0
    }
  }

  enum Word: CaseIterable { case accepted, ended }

  private func say(_ word: Word, _ passed: Passed) throws -> [Event] {
    switch word {
    case .accepted: try passed.rig.accepted(passed.id, by: Self.backEnd)
    case .ended: try passed.rig.ended(passed.id, by: Self.backEnd)
    }
  }

  @Test(arguments: Word.allCases, [false, true]) func aWordInTimeIsAll(_ word: Word, v6: Bool) throws {
    let passed = try Passed(v6: v6)
    #expect(passed.rig.openConnections == 1 && passed.rig.counters.attemptsUnderWay == 1)
    #expect(try passed.rig.pass(seconds: 0.09).isEmpty)
    #expect(try say(word, passed).isEmpty)
    #expect(try passed.rig.pass(seconds: 0.5).isEmpty, "nobody is asked any more")
    let counters = passed.rig.counters
    #expect(counters.packetHandoffs == 1 && counters.kernelHandoffs == 1 && counters.kernelHandoffsUnwatched == 0)
    #expect(counters.connections[.handedOff] == 1 && counters.attempts[.accepted] == 1)
    try passed.rig.expectEmptyAfterAll()
    #expect(try say(word, passed).isEmpty, "a word about a connection that nobody knows any more")
    #expect(passed.rig.counters.handoffsAborted == 0)
  }

  /// The same snapshot and request as if the worker had handed it off.
  @Test(arguments: [false, true]) func withoutAWordTheBackEndIsAskedByMessage(v6: Bool) throws {
    let passed = try Passed(v6: v6)
    #expect(try passed.rig.pass(seconds: 0.11) == [.withdraw(passed.id, passed.client.flow)])
    let events = try passed.rig.withdrawn(passed.id, isAnswered: false)
    guard events.count == 1,
      case .handOffAgain(passed.id, backEnd: Self.backEnd, let snapshot, request: Client.get) = events[0]
    else {
      Issue.record("expected the handoff as a message: \(events)")
      return
    }
    let own = try ownSnapshot(v6: v6)
    #expect(snapshot.flow == own.flow && snapshot.sendNext == own.sendNext && snapshot.receiveNext == own.receiveNext)
    #expect(snapshot.clientInitialSequence == own.clientInitialSequence)
    #expect(snapshot.sendWindow == own.sendWindow && snapshot.receiveWindow == own.receiveWindow)
    #expect(snapshot.maximumSegmentSize == own.maximumSegmentSize && snapshot.windowScale == own.windowScale)
    #expect(snapshot.sackPermitted == own.sackPermitted && snapshot.timestamps?.recent == own.timestamps?.recent)
    let accepted = try passed.rig.accepted(passed.id, by: Self.backEnd)
    #expect(
      accepted == [.established(passed.id, passed.client.flow, passed.client.initial, backEnd: Self.backEnd)])
    try passed.rig.expectEmptyAfterAll()
  }

  private func ownSnapshot(v6: Bool) throws -> TCPSnapshot {
    let rig = Self.rig()
    let client = Client(rig, v6: v6)
    client.learn(try client.syn())
    return try #require(try rig.decided(try client.request(), .backEnd(Self.backEnd)).snapshot)
  }

  @Test func aRefusalMakesItAnAttemptOfTheWorker() throws {
    let passed = try Passed()
    #expect(try passed.rig.wanted(passed.id, by: Self.backEnd) == [.withdraw(passed.id, passed.client.flow)])
    _ = try passed.rig.withdrawn(passed.id, isAnswered: false)
    let events = try passed.rig.refused(passed.id, .overloaded)
    guard events.count == 2, events[0] == .returned(Self.backEnd),
      case .decide(let id, target: 77, route: _, excluded: Self.backEnd) = events[1]
    else {
      Issue.record("expected another decision: \(events)")
      return
    }
    #expect(!id.isByKernel)
    #expect(try passed.rig.decided(passed.id, .backEnd(9)) == [.returned(9)], "the kernel's name is void")
    #expect(try passed.rig.accepted(passed.id, by: Self.backEnd).isEmpty)
    #expect(try passed.rig.decided(id, .backEnd(4)).snapshot != nil)
    #expect(try passed.rig.accepted(id, by: 4).count == 1)
    try passed.rig.expectEmptyAfterAll()
  }

  /// The client's next connection on its port, handed off by the kernel while the worker remembers the last one.
  @Test func aConnectionOnTheSamePortTakesThePlaceOfTheLast() throws {
    let first = try Passed(number: 1)
    first.client.initial = SequenceNumber(0x7000)
    first.client.learn(try first.client.syn())
    let second = Self.handoff(2)
    let packet = first.client.packet([.ack, .psh], Client.get.utf8)
    #expect(try first.rig.handedOff(second, packet) == [.handedOff(second, first.client.flow)])
    #expect(first.rig.openConnections == 1)
    #expect(try first.rig.ended(second.id, by: Self.backEnd).isEmpty)
    #expect(first.rig.counters.connections[.handedOff] == 2)
    try first.rig.expectEmptyAfterAll()
  }

  /// Nothing that the kernel says is lost by what the worker cannot keep: the driver hears of it.
  @Test func withoutRoomItIsNotWatched() throws {
    let rig = Rig {
      $0.handshakeInKernel = true
      $0.maximumEmbryonic = 0
      $0.maximumConnections = 1
    }
    let passed = try Passed(rig)
    let client = Client(rig, port: 40_001)
    client.learn(try client.syn())
    let handoff = Self.handoff(6)
    #expect(
      try rig.handedOff(handoff, client.packet([.ack, .psh], Client.get.utf8)) == [.handedOff(handoff, client.flow)])
    #expect(rig.counters.kernelHandoffsUnwatched == 1)
    #expect(try rig.accepted(handoff.id, by: Self.backEnd).isEmpty)
    #expect(try rig.ended(passed.id, by: Self.backEnd).isEmpty)
    try rig.expectEmptyAfterAll()
  }

  /// The back-end's kernel drops it: what the client repeats must be placed anew, and the credit is told as used.
  @Test func aDamagedRequestIsNoConnection() throws {
    let rig = Self.rig()
    let client = Client(rig)
    client.learn(try client.syn())
    var packet = client.packet([.ack, .psh], Client.get.utf8)
    packet[packet.count - 1] ^= 1
    let handoff = Self.handoff(1)
    #expect(
      try rig.handedOff(handoff, packet) == [.handedOff(handoff, client.flow), .disown(handoff.id, client.flow)])
    #expect(try rig.wanted(handoff.id, by: Self.backEnd).isEmpty)
    #expect(rig.counters.kernelHandoffsUnwatched == 1 && rig.openConnections == 0)
    _ = try client.request()
    #expect(rig.openConnections == 1, "the repeated request is the worker's")
    _ = try rig.pass(seconds: 30)
    try rig.expectEmptyAfterAll()
  }

  @Test func whatIsNoPacketIsCountedAndForgotten() throws {
    let rig = Self.rig()
    #expect(try rig.handedOff(Self.handoff(1), [0x45, 0, 0]).isEmpty)
    #expect(rig.counters.kernelHandoffsUnwatched == 1)
    let client = Client(rig)
    #expect(try rig.handedOff(Self.handoff(2), client.packet([.ack], Client.get.utf8)).count == 1)
    _ = try rig.pass(seconds: 0.2)
    #expect(rig.counters.kernelHandoffsUnwatched == 2, "a cookie that nobody made")
    try rig.expectEmptyAfterAll()
  }

  /// The request came twice on two processors: one copy was handed off, the other one was for the worker, which reads it later.
  @Test func aCopyOfTheRequestIsNoConnectionOfItsOwn() throws {
    let passed = try Passed()
    #expect(try passed.client.send([.ack, .psh], Client.get).isEmpty)
    #expect(passed.rig.counters.packets[.dataDuplicate] == 1)
    #expect(passed.rig.openConnections == 1 && passed.rig.counters.attemptsUnderWay == 1)
    #expect(try passed.rig.accepted(passed.id, by: Self.backEnd).isEmpty)
    #expect(passed.rig.counters.connections[.handedOff] == 1)
    try passed.rig.expectEmptyAfterAll()
  }

  /// The client's next connection on its port, whose request is for the worker.
  @Test func theNextConnectionOfThePortIsTheWorkers() throws {
    let first = try Passed()
    first.client.initial = SequenceNumber(0x7000)
    first.client.learn(try first.client.syn())
    let id = try first.client.request()
    #expect(!id.isByKernel && first.rig.openConnections == 1)
    #expect(first.rig.counters.connections[.handedOff] == 1)
    #expect(try first.rig.ended(first.id, by: Self.backEnd).isEmpty)
    #expect(try first.rig.decided(id, .backEnd(4)).snapshot != nil)
    #expect(try first.rig.accepted(id, by: 4).count == 1)
    try first.rig.expectEmptyAfterAll()
  }

  /// Words come in any order, late or never, and the queue's memory is used again and again.
  @Test(arguments: [1, 2, 3] as [UInt64]) func wordsInAnyOrder(seed: UInt64) throws {
    let rig = Rig {
      $0.handshakeInKernel = true
      $0.maximumEmbryonic = 0
      $0.maximumConnections = 100_000
    }
    var random = SplitMix(seed: seed)
    var open: [Passed] = []
    var (made, told, asked) = (0, 0, 0)
    for step in 0..<4_000 {
      if open.count < 600, random.chance(60) {
        made += 1
        open.append(try Passed(rig, number: UInt64(made), v6: random.chance(30), port: UInt16(1_000 + made)))
      } else if !open.isEmpty {
        let passed = open.remove(at: random.below(open.count))
        switch random.below(20) {
        case 0:
          #expect(try rig.wanted(passed.id, by: Self.backEnd) == [.withdraw(passed.id, passed.client.flow)])
          asked += try answer(passed)
        case 1: open.append(passed)
        default:
          #expect(try say(random.chance(50) ? .accepted : .ended, passed).isEmpty)
          told += 1
        }
      }
      if step % 37 == 0 {
        for event in try rig.pass(nanoseconds: UInt64(random.below(30)) * 1_000_000) {
          guard case .withdraw(let id, let flow) = event, let index = open.firstIndex(where: { $0.id == id }) else {
            Issue.record("not to be expected: \(event)")
            continue
          }
          #expect(flow == open[index].client.flow)
          asked += try answer(open.remove(at: index))
        }
      }
      #expect(Int(rig.counters.attemptsUnderWay) == open.count && rig.openConnections == open.count)
    }
    #expect(told > 500 && asked > 50 && told + asked + open.count == made)
    for passed in open { #expect(try say(.ended, passed).isEmpty) }
    #expect(Int(rig.counters.connections[.handedOff]) == made && rig.counters.kernelHandoffsUnwatched == 0)
    try rig.expectEmptyAfterAll()
  }

  /// What is asked for by message is the client's own request.
  private func answer(_ passed: Passed) throws -> Int {
    let events = try passed.rig.withdrawn(passed.id, isAnswered: false)
    guard events.count == 1,
      case .handOffAgain(passed.id, backEnd: Self.backEnd, let snapshot, request: Client.get) = events[0]
    else {
      Issue.record("expected the handoff as a message: \(events)")
      return 1
    }
    #expect(snapshot.flow == passed.client.flow && snapshot.clientInitialSequence == passed.client.initial)
    #expect(try passed.rig.accepted(passed.id, by: Self.backEnd).count == 1)
    return 1
  }
}
