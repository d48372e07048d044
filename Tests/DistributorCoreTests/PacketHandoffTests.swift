// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Handoff
import Testing
import Wire

/// Handoffs by packet: from the packet to the back-end's word, and what happens without one.
@Suite struct PacketHandoffTests {
  static let backEnd: UInt16 = 3

  /// A connection whose handoff was sent by packet.
  struct Passed {
    let rig: Rig
    let client: Client
    let id: HandoffID

    init(_ rig: Rig = Rig(), v6: Bool = false, port: UInt16 = 40_000) throws {
      self.rig = rig
      client = Client(rig, port: port, v6: v6)
      id = try client.handOff(to: backEnd)
      #expect(rig.way == .packetOrMessage)
      #expect(try rig.passed(id) == [established])
    }

    var established: Event { .established(id, client.flow, client.initial, backEnd: backEnd) }
    var withdrawal: Event { .withdraw(id, client.flow) }

    /// Without a word until the back-end is asked by message. Returns the snapshot of the message.
    @discardableResult
    func askedByMessage() throws -> TCPSnapshot? {
      #expect(try rig.pass(seconds: 0.11) == [withdrawal])
      let events = try rig.withdrawn(id, isAnswered: false)
      guard events.count == 1,
        case .handOffAgain(id, backEnd: PacketHandoffTests.backEnd, let snapshot, request: Client.get) = events[0]
      else {
        Issue.record("expected the handoff as a message: \(events)")
        return nil
      }
      #expect(rig.way == .messageAfterPacket)
      return snapshot
    }

    /// Checks that the connection is at its back-end, counted once.
    func expectHandedOff(_ location: SourceLocation = #_sourceLocation) throws {
      #expect(rig.counters.attempts[.accepted] == 1 && rig.counters.attempts.total == 1, sourceLocation: location)
      #expect(rig.counters.connections[.handedOff] == 1, sourceLocation: location)
      #expect(rig.counters.assignmentsReturned == 0, sourceLocation: location)
      #expect(rig.openConnections == 0, sourceLocation: location)
      let late = client.packet(.ack, at: Client.get.utf8.count, "late".utf8)
      #expect(try rig.receive(late) == [.deliver(try Sent(late), backEnd: backEnd)], sourceLocation: location)
      try rig.expectEmptyAfterAll(sourceLocation: location)
    }
  }

  // MARK: The back-end's word

  enum Word: CaseIterable { case accepted, ended }

  private func say(_ word: Word, _ id: HandoffID, by backEnd: UInt16 = backEnd, to rig: Rig) throws -> [Event] {
    switch word {
    case .accepted: try rig.accepted(id, by: backEnd)
    case .ended: try rig.ended(id, by: backEnd)
    }
  }

  @Test(arguments: Word.allCases, [false, true]) func aWordInTimeIsAll(_ word: Word, v6: Bool) throws {
    let passed = try Passed(v6: v6)
    #expect(passed.rig.openConnections == 1)
    #expect(passed.rig.counters.attemptsUnderWay == 1)
    #expect(try passed.rig.pass(seconds: 0.09).isEmpty)
    #expect(try say(word, passed.id, to: passed.rig).isEmpty)
    #expect(passed.rig.counters.bufferBytes == 0)
    #expect(try passed.rig.pass(seconds: 0.5).isEmpty, "nobody is asked any more")
    #expect(passed.rig.counters.packetHandoffs == 1)
    #expect(passed.rig.counters.packetHandoffsUnconfirmed == 0)
    try passed.expectHandedOff()
  }

  @Test(arguments: Word.allCases) func onlyTheBackEndThatHasThePacketCanSayIt(_ word: Word) throws {
    let passed = try Passed()
    let events = try say(word, passed.id, by: 4, to: passed.rig)
    #expect(events == (word == .accepted ? [.abort(passed.id, backEnd: 4)] : []))
    #expect(passed.rig.openConnections == 1)
    try passed.askedByMessage()
    #expect(try say(word, passed.id, by: 4, to: passed.rig) == events)
    #expect(passed.rig.openConnections == 1)
    #expect(try say(word, passed.id, to: passed.rig) == [passed.established])
    try passed.expectHandedOff()
  }

  @Test(arguments: Word.allCases, Word.allCases) func aSecondWordSaysNothingNew(_ first: Word, _ second: Word) throws {
    let passed = try Passed()
    #expect(try say(first, passed.id, to: passed.rig).isEmpty)
    #expect(try say(second, passed.id, to: passed.rig).isEmpty)
    #expect(passed.rig.counters.lateAcceptances == (second == .accepted ? 1 : 0))
    #expect(passed.rig.counters.handoffsAborted == 0)
    try passed.expectHandedOff()
  }

  @Test func aPacketThatWasNotAskedForIsNone() throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    let id = try client.request()
    #expect(try rig.passed(id).isEmpty)
    #expect(try rig.ended(id, by: 3).isEmpty)
    #expect(try rig.wanted(id, by: 3).isEmpty)
    #expect(try rig.withdrawn(id, isAnswered: true).isEmpty)
    #expect(rig.counters.packetHandoffs == 0)
    #expect(try rig.decided(id, .backEnd(3)).snapshot != nil)
    #expect(try rig.passed(HandoffID(slot: 63, generation: 9)).isEmpty)
  }

  // MARK: No word

  @Test func withoutAWordTheBackEndIsAskedByMessage() throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    let id = try client.request()
    let first = try #require(try rig.decided(id, .backEnd(3)).snapshot)
    _ = try rig.passed(id)
    #expect(try rig.pass(seconds: 0.099).isEmpty)
    #expect(try rig.pass(seconds: 0.01) == [.withdraw(id, client.flow)])
    guard
      case .handOffAgain(id, backEnd: 3, var again, request: Client.get)? = try rig.withdrawn(id, isAnswered: false)
        .first
    else {
      Issue.record("expected the handoff as a message")
      return
    }
    #expect(again.timestamps!.nextValue &- first.timestamps!.nextValue < 200, "the clock goes on, nothing else moves")
    again.timestamps = first.timestamps
    #expect(again == first)
    #expect(try rig.accepted(id, by: 3) == [.established(id, client.flow, client.initial, backEnd: 3)])
    #expect(rig.counters.packetHandoffsUnconfirmed == 1)
    #expect(rig.counters.attemptsStarted == 1, "it is the same attempt")
    #expect(rig.counters.connections[.handedOff] == 1)
    try rig.expectEmptyAfterAll()
  }

  @Test func anAnsweredClientStaysWhereItIs() throws {
    let passed = try Passed()
    #expect(try passed.rig.pass(seconds: 0.11) == [passed.withdrawal])
    #expect(try passed.rig.withdrawn(passed.id, isAnswered: true) == [passed.established])
    try passed.expectHandedOff()
  }

  /// The back-end may say much later that it has the connection, when its kernel did not tell it of the beginning. The responder
  /// would abort what it does not know: the driver, which has the flow, does not pass the word on.
  @Test func anAnsweredClientIsKnownUntilTheTombstoneIsGone() throws {
    let passed = try Passed()
    #expect(try passed.rig.pass(seconds: 0.11) == [passed.withdrawal])
    #expect(try passed.rig.withdrawn(passed.id, isAnswered: true) == [passed.established])
    #expect(passed.rig.knows(passed.id))
    #expect(try passed.rig.accepted(passed.id, by: Self.backEnd).isEmpty)
    #expect(try passed.rig.pass(seconds: 1.2).isEmpty)
    #expect(!passed.rig.knows(passed.id))
    #expect(try passed.rig.accepted(passed.id, by: Self.backEnd) == [.abort(passed.id, backEnd: Self.backEnd)])
  }

  @Test func aWithdrawalWithoutAnAnswerIsRepeated() throws {
    let passed = try Passed()
    #expect(try passed.rig.pass(seconds: 0.25) == [passed.withdrawal, passed.withdrawal])
    #expect(try passed.rig.withdrawn(passed.id, isAnswered: true) == [passed.established])
    try passed.expectHandedOff()
  }

  @Test(arguments: Word.allCases) func aLateWordAboutThePacketIsTheAnswerToTheMessage(_ word: Word) throws {
    let passed = try Passed()
    try passed.askedByMessage()
    let held = passed.client.packet(.ack, at: Client.get.utf8.count, "more".utf8)
    #expect(try passed.rig.receive(held).isEmpty)
    #expect(
      try say(word, passed.id, to: passed.rig) == [.deliver(try Sent(held), backEnd: Self.backEnd), passed.established])
    #expect(try passed.rig.accepted(passed.id, by: Self.backEnd).isEmpty, "the answer to the message itself")
    #expect(passed.rig.counters.lateAcceptances == 1)
    try passed.expectHandedOff()
  }

  @Test func theBackEndMayWantTheMessage() throws {
    let passed = try Passed()
    #expect(try passed.rig.wanted(passed.id, by: 4).isEmpty)
    #expect(passed.rig.counters.lateRefusals == 1, "another one has nothing to want")
    #expect(try passed.rig.wanted(passed.id, by: Self.backEnd) == [passed.withdrawal])
    guard case .handOffAgain? = try passed.rig.withdrawn(passed.id, isAnswered: false).first else {
      Issue.record("expected the handoff as a message")
      return
    }
    #expect(try passed.rig.wanted(passed.id, by: Self.backEnd).isEmpty, "it is under way already")
    #expect(passed.rig.counters.packetHandoffsDeclined == 1)
    #expect(passed.rig.counters.packetHandoffsUnconfirmed == 0)
    #expect(try passed.rig.accepted(passed.id, by: Self.backEnd) == [passed.established])
    #expect(try passed.rig.wanted(passed.id, by: Self.backEnd).isEmpty)
    #expect(passed.rig.counters.lateRefusals == 3)
    try passed.expectHandedOff()
  }

  @Test(arguments: HandoffRefusal.allCases) func refusedAfterTheMessageItGoesElsewhereByMessage(
    _ reason: HandoffRefusal
  ) throws {
    let passed = try Passed()
    try passed.askedByMessage()
    let events = try passed.rig.refused(passed.id, reason)
    #expect(events.first == .returned(Self.backEnd))
    let second = try #require(events.decision)
    #expect(try passed.rig.accepted(passed.id, by: Self.backEnd) == [.abort(passed.id, backEnd: Self.backEnd)])
    #expect(try passed.rig.ended(passed.id, by: Self.backEnd).isEmpty)
    #expect(try passed.rig.decided(second, .backEnd(5)).snapshot != nil)
    #expect(passed.rig.way == .message, "only a first attempt goes by packet")
    #expect(try passed.rig.accepted(second, by: 5).count == 1)
    #expect(passed.rig.counters.connections[.handedOff] == 1)
    try passed.rig.expectEmptyAfterAll()
  }

  @Test func silentAfterTheMessageItGoesElsewhereWhenTheClientHasNothing() throws {
    let passed = try Passed()
    try passed.askedByMessage()
    let events = try passed.rig.pass(seconds: 1.01)
    #expect(Array(events.prefix(2)) == [.abort(passed.id, backEnd: Self.backEnd), .returned(Self.backEnd)])
    #expect(events.decision != nil)
    #expect(passed.rig.counters.attempts[.timedOut] == 1)
  }

  // MARK: What may go by packet

  @Test(arguments: ["request", "request and body", "FIN with it", "FIN after it", "hole", "second attempt"])
  func onlyAWholeRequestGoesByPacket(_ what: String) throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    let n = Client.get.utf8.count
    var id: HandoffID
    switch what {
    case "FIN with it": id = try #require(try client.send([.ack, .fin], Client.get).decision)
    case "hole":
      _ = try client.send(.ack, at: n + 4, "tail")
      id = try #require(try client.send([.ack, .psh], Client.get).decision)
    default: id = try client.request()
    }
    if what == "request and body" { _ = try client.send(.ack, at: n, "body") }
    if what == "FIN after it" { _ = try client.send([.ack, .fin], at: n) }
    if what == "second attempt" {
      _ = try rig.decided(id, .backEnd(1))
      id = try #require(try rig.refused(id, .overloaded).decision)
    }
    _ = try rig.decided(id, .backEnd(3))
    #expect(rig.way == (what.hasPrefix("request") ? .packetOrMessage : .message))
  }
}
