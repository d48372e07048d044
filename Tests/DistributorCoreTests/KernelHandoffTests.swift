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
    #expect(rig.counters.kernelHandoffsUnwatched == 2, "a cookie that nobody made")
    try rig.expectEmptyAfterAll()
  }
}
