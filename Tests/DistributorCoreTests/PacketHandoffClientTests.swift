// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Handoff
import Testing
import Wire

/// Handoffs by packet: what the client sends meanwhile, and back-ends that are lost.
@Suite struct PacketHandoffClientTests {
  private typealias Passed = PacketHandoffTests.Passed
  private static let backEnd = PacketHandoffTests.backEnd
  private static let length = Client.get.utf8.count

  // MARK: Packets that did not take the kernel's way

  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var flags: TCPFlags
    var offset = 0
    var text = ""
    var acknowledging = 0
    var isDelivered = true
    var testDescription: String { name }
  }

  static let cases = [
    Case(name: "the request again", flags: [.ack, .psh], text: Client.get, isDelivered: false),
    Case(name: "its end again", flags: .ack, offset: length - 4, text: "\r\n\r\n", isDelivered: false),
    Case(name: "the request again with more", flags: .ack, text: Client.get + "more"),
    Case(name: "the request again with FIN", flags: [.ack, .fin], text: Client.get),
    Case(name: "more", flags: .ack, offset: length, text: "more"),
    Case(name: "more behind a hole", flags: .ack, offset: length + 100, text: "more"),
    Case(name: "acknowledgment of nothing", flags: .ack, offset: length),
    Case(name: "acknowledgment of an answer", flags: .ack, offset: length, acknowledging: 700),
    Case(name: "keep-alive", flags: .ack, offset: length - 1),
    Case(name: "FIN", flags: [.ack, .fin], offset: length),
    Case(name: "RST", flags: .rst, offset: length),
    Case(name: "RST anywhere", flags: .rst, offset: length + 9_999),
  ]

  @Test(arguments: cases, [false, true]) func packetWhilePassed(_ example: Case, v6: Bool) throws {
    let passed = try Passed(v6: v6)
    let packet = passed.client.packet(
      example.flags, at: example.offset, example.text.utf8, acknowledging: example.acknowledging)
    var expected: [Event] = example.isDelivered ? [.deliver(try Sent(packet), backEnd: Self.backEnd)] : []
    if !example.flags.isDisjoint(with: [.fin, .rst]) { expected.append(.closing(passed.id, passed.client.flow)) }
    for _ in 0..<2 { #expect(try passed.rig.receive(packet) == expected) }
    #expect(passed.rig.counters.packets[example.isDelivered ? .delivered : .dataDuplicate] == 2)
    #expect(passed.rig.openConnections == 1, "whatever it is, the back-end's kernel is to judge it")
    #expect(try passed.rig.accepted(passed.id, by: Self.backEnd).isEmpty)
    try passed.expectHandedOff()
  }

  @Test func itsOwnSYNAgainIsNothing() throws {
    let passed = try Passed()
    #expect(try passed.client.syn().isEmpty)
    #expect(passed.rig.counters.packets[.synDuplicate] == 1)
    #expect(passed.rig.openConnections == 1)
    #expect(try passed.rig.accepted(passed.id, by: Self.backEnd).isEmpty)
    try passed.expectHandedOff()
  }

  @Test func aNewSYNBeginsANewConnection() throws {
    let passed = try Passed()
    passed.client.initial = passed.client.initial.advanced(by: 5_000)
    let second = try passed.client.handOff(to: 4)
    #expect(passed.rig.counters.connections[.handedOff] == 1, "the first is the back-end's")
    #expect(try passed.rig.accepted(passed.id, by: Self.backEnd) == [.abort(passed.id, backEnd: Self.backEnd)])
    #expect(try passed.rig.withdrawn(passed.id, isAnswered: false).isEmpty)
    #expect(try passed.rig.wanted(passed.id, by: Self.backEnd).isEmpty)
    #expect(try passed.rig.passed(second).count == 1)
    #expect(try passed.rig.accepted(second, by: 4).isEmpty)
    #expect(passed.rig.counters.connections[.handedOff] == 2)
    try passed.rig.expectEmptyAfterAll()
  }

  @Test func aNewSYNWhileDrainingLeavesTheFirstWhereItIs() throws {
    let passed = try Passed()
    passed.rig.stopAccepting()
    passed.client.initial = passed.client.initial.advanced(by: 5_000)
    #expect(try passed.client.syn().isEmpty)
    #expect(passed.rig.counters.packets[.synWhileDraining] == 1)
    passed.client.initial = Client.initial
    try passed.expectHandedOff()
  }

  /// With handshakes in the kernel the new connection shows by its first segment with data.
  @Test func aCookieOfANewConnectionSupersedes() throws {
    let passed = try Passed(Rig { $0.handshakeInKernel = true })
    // Has the same keys, and answers every SYN as the kernel does.
    let kernel = Rig { $0.maximumEmbryonic = 0 }
    let next = Client(kernel)
    next.initial = Client.initial.advanced(by: 70_000)
    next.learn(try next.syn())
    let events = try passed.rig.receive(next.packet([.ack, .psh], at: 0, Client.get.utf8))
    let id = try #require(events.decision)
    #expect(passed.rig.counters.connections[.handedOff] == 1)
    _ = try passed.rig.decided(id, .backEnd(4))
    #expect(try passed.rig.passed(id).count == 1)
    #expect(try passed.rig.pass(seconds: 0.09).isEmpty)
    #expect(try passed.rig.accepted(id, by: 4).isEmpty)
    #expect(passed.rig.counters.connections[.handedOff] == 2)
    try passed.rig.expectEmptyAfterAll()
  }

  // MARK: What the client says while the back-end is asked by message

  /// Its acknowledgment tells that the packet was taken, whatever the back-end says or does not say.
  @Test(arguments: ["silent", "lost"]) func acknowledgedBytesKeepTheConnectionWhereItIs(_ how: String) throws {
    let passed = try Passed()
    try passed.askedByMessage()
    let acknowledgment = passed.client.packet(.ack, at: Self.length, acknowledging: 1_400)
    #expect(try passed.rig.receive(acknowledgment).isEmpty)
    let events = try how == "lost" ? passed.rig.lost(Self.backEnd, isSilent: true) : passed.rig.pass(seconds: 1.01)
    #expect(events == [.deliver(try Sent(acknowledgment), backEnd: Self.backEnd), passed.established])
    #expect(passed.rig.counters.packetHandoffsAssumed == 1)
    #expect(passed.rig.counters.handoffsAborted == 0)
    try passed.expectHandedOff()
  }

  @Test func aRefusalCountsMoreThanAnAcknowledgment() throws {
    let passed = try Passed()
    try passed.askedByMessage()
    #expect(try passed.client.send(.ack, at: Self.length, acknowledging: 1_400).isEmpty)
    let events = try passed.rig.refused(passed.id, .overloaded)
    #expect(events.first == .returned(Self.backEnd))
    let second = try #require(events.decision)
    _ = try passed.rig.decided(second, .backEnd(5))
    #expect(try passed.rig.pass(seconds: 1.01).first == .abort(second, backEnd: 5), "the acknowledgment is forgotten")
  }

  @Test func aResetWhileAskedByMessageEndsWhatIsRefused() throws {
    let passed = try Passed()
    try passed.askedByMessage()
    #expect(try passed.client.send(.rst, at: Self.length).isEmpty)
    #expect(try passed.rig.refused(passed.id, .overloaded) == [.returned(Self.backEnd)])
    #expect(passed.rig.counters.connections[.clientReset] == 1)
    #expect(passed.rig.counters.entries == 0)
  }

  // MARK: Back-ends that are lost

  @Test func whatIsAtAClosedBackEndStaysThere() throws {
    let rig = Rig()
    let here = [try Passed(rig, port: 1), try Passed(rig, port: 2)]
    let asked = try Passed(rig, port: 3)
    #expect(try rig.wanted(asked.id, by: Self.backEnd) == [asked.withdrawal])
    #expect(try rig.withdrawn(asked.id, isAnswered: false).count == 1)
    #expect(try rig.lost(4).isEmpty, "another one")
    #expect(rig.counters.packetHandoffsAssumed == 0)
    let events = try rig.lost(Self.backEnd)
    #expect(rig.counters.packetHandoffsAssumed == 2)
    #expect(rig.counters.attempts[.accepted] == 2)
    #expect(events.first == .returned(Self.backEnd) && events.decision != nil, "it has said that it has no connection")
    for passed in here { #expect(try rig.accepted(passed.id, by: Self.backEnd).isEmpty) }
    try rig.expectEmptyAfterAll()
  }

  /// The message may not have been read, but the packet may have been taken: two back-ends would answer one client.
  @Test func whatAClosedBackEndWasAskedAboutStaysThere() throws {
    let passed = try Passed()
    try passed.askedByMessage()
    #expect(try passed.rig.lost(Self.backEnd) == [passed.established])
    #expect(passed.rig.counters.packetHandoffsAssumed == 1)
    try passed.expectHandedOff()
  }

  /// Each is withdrawn; what the client has bytes of stays, the rest is served elsewhere.
  @Test func aSilentBackEndKeepsWhatItHasAnswered() throws {
    let rig = Rig()
    let answered = try Passed(rig, port: 1)
    let other = try Passed(rig, port: 2)
    #expect(try rig.lost(Self.backEnd, isSilent: true) == [answered.withdrawal, other.withdrawal])
    #expect(try rig.withdrawn(answered.id, isAnswered: true) == [answered.established])
    guard case .handOffAgain? = try rig.withdrawn(other.id, isAnswered: false).first else {
      Issue.record("expected the handoff as a message")
      return
    }
    // The driver has no connection to it any more.
    let second = try #require(try rig.refused(other.id, .serverUnreachable).decision)
    _ = try rig.decided(second, .backEnd(5))
    #expect(try rig.accepted(second, by: 5).count == 1)
    #expect(rig.counters.connections[.handedOff] == 2)
    #expect(rig.counters.attempts[.accepted] == 2)
    try rig.expectEmptyAfterAll()
  }
}
