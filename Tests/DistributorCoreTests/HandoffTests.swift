// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Handoff
import Rules
import Testing
import Wire

/// From the complete head to the tombstone.
@Suite struct HandoffTests {
  @Test(arguments: [false, true]) func snapshotSaysWhatWasNegotiated(v6: Bool) throws {
    let rig = Rig()
    let client = Client(rig, v6: v6)
    try client.connect()
    let events = try client.send([.ack, .psh], Client.get, window: 300)
    guard case .decide(let id, let target, Route(), excluded: nil)? = events.first else {
      Issue.record("expected .decide: \(events)")
      return
    }
    #expect(target == Rig.targetKey.hash(Array("/a".utf8).span))
    let lastSent = client.timestamps!.echo
    let snapshot = try #require(try rig.decided(id, .backEnd(9)).snapshot)
    #expect(
      snapshot
        == TCPSnapshot(
          flow: client.flow, sendNext: client.serverInitial.advanced(by: 1),
          receiveNext: client.initial.advanced(by: 1 + Client.get.utf8.count), clientInitialSequence: client.initial,
          sendWindow: 300 << 9, receiveWindow: UInt32(65_535 - Client.get.utf8.count), maximumSegmentSize: 1400,
          windowScale: .init(send: 9, receive: 7), sackPermitted: true,
          timestamps: .init(nextValue: lastSent &+ 1, recent: client.timestamps!.value)))
  }

  @Test func snapshotWithoutOptions() throws {
    let rig = Rig()
    let client = Client(rig, options: TCPOptions())
    try client.connect()
    let id = try client.request()
    let snapshot = try #require(try rig.decided(id, .backEnd(9)).snapshot)
    #expect(snapshot.maximumSegmentSize == 536)
    #expect(snapshot.windowScale == nil)
    #expect(snapshot.sackPermitted == false)
    #expect(snapshot.timestamps == nil)
    #expect(snapshot.sendWindow == 500)
  }

  @Test func clientPacketsAreHeldAndDeliveredInOrder() throws {
    let rig = Rig()
    let client = Client(rig)
    let id = try client.handOff()
    let n = Client.get.utf8.count
    #expect(try client.send(.ack, at: n).isEmpty)
    #expect(rig.counters.packets[.notHeld] == 1, "a pure acknowledgment says nothing new")
    let packets = [
      client.packet(.ack, at: n + 3, "late".utf8), client.packet(.ack, at: n, "abc".utf8),
      client.packet(.ack, at: n, window: 900), client.packet(.ack, at: n, acknowledging: 1_448),
      client.packet([.ack, .fin], at: n + 7), client.packet(.rst, at: n + 8),
    ]
    for packet in packets { #expect(try rig.receive(packet).isEmpty) }
    #expect(rig.counters.packets[.held] == 6)
    #expect(rig.counters.heldBytes > 0)
    let events = try rig.accepted(id, by: 3)
    #expect(events.last == .established(id, client.flow, client.initial, backEnd: 3), "later packets overtake none")
    #expect(events.delivered == (try packets.map { try Sent($0) }))
    #expect(rig.counters.connections[.handedOff] == 1)
    #expect(rig.counters.heldBytes == 0)
    #expect(rig.counters.bufferBytes == 0)
    #expect(rig.openConnections == 0)
    try rig.expectEmptyAfterAll()
  }

  @Test func retransmittedRequestIsAcknowledgedWithoutANewerTimestamp() throws {
    let rig = Rig()
    let client = Client(rig)
    let id = try client.handOff()
    _ = try rig.pass(seconds: 0.2)
    let ack = try client.send(.ack, Client.get).onlySegment()
    ack.expect(.ack, from: client, at: 0, acknowledging: Client.get.utf8.count)
    #expect(rig.counters.packets[.dataDuplicate] == 1)
    let refused = try rig.refused(id, .overloaded)
    let again = try #require(refused.decision)
    let snapshot = try #require(try rig.decided(again, .backEnd(4)).snapshot)
    #expect(snapshot.timestamps!.nextValue == ack.segment.options.timestamps!.value &+ 200, "caught up with the clock")
  }

  @Test func dataBeforeTheDecisionTravelsWithTheSnapshot() throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    let id = try client.request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
    let n = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n".utf8.count
    try client.send(.ack, at: n, "body").onlySegment().expect(.ack, from: client, at: 0, acknowledging: n + 4)
    guard case .handOff(_, _, let snapshot, let request)? = try rig.decided(id, .backEnd(1)).first else {
      Issue.record("no handoff")
      return
    }
    #expect(request.hasSuffix("\r\n\r\nbody"))
    #expect(snapshot.receiveNext == client.initial.advanced(by: 1 + n + 4))
  }

  @Test("A FIN before the handoff is not acknowledged and reaches the back-end", arguments: ["with", "after"])
  func halfClose(_ how: String) throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    let n = Client.get.utf8.count
    let events: [Event]
    if how == "with" {
      events = try client.send([.ack, .fin], Client.get)
    } else {
      events = try client.send(.ack, Client.get)
      #expect(try client.send([.ack, .fin], at: n).isEmpty)
      #expect(rig.counters.packets[.fin] == 1)
    }
    #expect(events.segments.isEmpty, "the back-end acknowledges")
    let id = try #require(events.decision)
    let snapshot = try #require(try rig.decided(id, .backEnd(1)).snapshot)
    #expect(snapshot.receiveNext == client.initial.advanced(by: 1 + n))
    let delivered = try rig.accepted(id, by: 1).delivered
    #expect(delivered.count == 1)
    #expect(delivered[0].segment.flags == [.fin, .ack])
    #expect(delivered[0].segment.sequence == snapshot.receiveNext)
    #expect(delivered[0].segment.acknowledgment == snapshot.sendNext)
    #expect(delivered[0].segment.options.timestamps?.value == snapshot.timestamps?.recent)
    try rig.expectEmptyAfterAll()
  }

  @Test func finBehindAHoleIsLeftToItsRetransmission() throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    let n = Client.get.utf8.count
    #expect(try client.send([.ack, .fin], at: n + 4, "tail").segments.count == 1)
    let id = try #require(try client.send([.ack, .psh], Client.get).decision)
    _ = try rig.decided(id, .backEnd(1))
    #expect(try rig.accepted(id, by: 1).delivered.isEmpty)
  }

  // MARK: Refusals

  @Test func refusalExcludesAndTriesThreeTimes() throws {
    let rig = Rig()
    let client = Client(rig)
    var id = try client.handOff(to: 1)
    for (backEnd, next) in [(UInt16(1), UInt16(2)), (2, 5)] {
      let events = try rig.refused(id, .overloaded)
      #expect(events.first == .returned(backEnd))
      guard case .decide(let again, _, _, excluded: backEnd)? = events.last else {
        Issue.record("expected .decide that excludes \(backEnd): \(events)")
        return
      }
      #expect(again != id)
      id = again
      guard case .handOff(again, backEnd: next, _, request: Client.get)? = try rig.decided(id, .backEnd(next)).first
      else {
        Issue.record("expected .handOff to \(next)")
        return
      }
    }
    let events = try rig.refused(id, .draining)
    #expect(events.first == .returned(5))
    #expect(events.segments[0].text.hasPrefix("HTTP/1.1 503 "))
    #expect(events.segments[0].text.contains("\r\nRetry-After: 1\r\n"))
    #expect(rig.counters.attempts[.refusedOverloaded] == 2)
    #expect(rig.counters.attempts[.refusedDraining] == 1)
    try rig.expectEmptyAfterAll()
    #expect(rig.counters.connections[.answered503] == 1)
  }

  @Test(arguments: HandoffRefusal.allCases) func everyRefusalHasItsCounter(_ reason: HandoffRefusal) throws {
    let rig = Rig()
    let id = try Client(rig).handOff()
    _ = try rig.refused(id, reason)
    #expect(rig.counters.attempts.total == 1)
    #expect(rig.counters.attempts.all.filter { $0.value == 1 && $0.name.hasPrefix("refused") }.count == 1)
  }

  @Test(arguments: [DecisionOutcome.noBackEnd, .overloaded]) func noBackEndIs503(_ outcome: DecisionOutcome) throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    let id = try client.request()
    let events = try rig.decided(id, outcome)
    let answer = try events.onlySegment()
    answer.expect([.ack, .psh, .fin], from: client, at: 0, acknowledging: Client.get.utf8.count)
    #expect(answer.text.hasPrefix("HTTP/1.1 503 "))
    #expect(rig.counters.attempts[outcome == .noBackEnd ? .noBackEnd : .overloaded] == 1)
    try rig.expectEmptyAfterAll()
  }

  @Test func noDecisionInTimeIs503AndALateOneIsReturned() throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    let id = try client.request()
    let events = try rig.pass(seconds: 1.01)
    #expect(events.segments.first?.text.hasPrefix("HTTP/1.1 503 ") == true)
    #expect(rig.counters.attempts[.undecided] == 1)
    #expect(try rig.decided(id, .backEnd(8)) == [.returned(8)])
    #expect(try rig.decided(id, .noBackEnd).isEmpty)
    #expect(rig.counters.lateDecisions == 2)
  }

  @Test func secondDecisionForTheSameAttemptIsReturned() throws {
    let rig = Rig()
    let id = try Client(rig).handOff(to: 3)
    #expect(try rig.decided(id, .backEnd(4)) == [.returned(4)])
    #expect(try rig.accepted(id, by: 3).count == 1)
  }

  // MARK: Late answers

  @Test func silentBackEndIsAbortedAndItsLateAcceptanceMeetsNothing() throws {
    let rig = Rig()
    let client = Client(rig)
    let first = try client.handOff(to: 3)
    let events = try rig.pass(seconds: 1.01)
    #expect(Array(events.prefix(2)) == [.abort(first, backEnd: 3), .returned(3)])
    let second = try #require(events.decision)
    #expect(rig.counters.attempts[.timedOut] == 1)
    #expect(try rig.accepted(first, by: 3) == [.abort(first, backEnd: 3)])
    #expect(try rig.refused(first, .overloaded).isEmpty)
    guard case .handOff? = try rig.decided(second, .backEnd(4)).first else {
      Issue.record("no second handoff")
      return
    }
    #expect(try rig.accepted(first, by: 3) == [.abort(first, backEnd: 3)], "also while the second is under way")
    #expect(try rig.accepted(second, by: 3) == [.abort(second, backEnd: 3)], "only the one that was asked can accept")
    #expect(try rig.accepted(second, by: 4).first == .established(second, client.flow, client.initial, backEnd: 4))
    #expect(rig.counters.lateAcceptances >= 3)
    #expect(rig.counters.lateRefusals == 1)
  }

  @Test func placementEndsWithItsTimeWhateverTheAttempts() throws {
    let rig = Rig { $0.maximumAttempts = 200 }
    let client = Client(rig)
    var id: HandoffID? = try client.handOff(to: 0)
    let start = rig.now
    while rig.counters.attemptsUnderWay > 0 {
      let events = try rig.pass(seconds: 0.3) + (id.map { try rig.refused($0, .overloaded) } ?? [])
      id = events.decision
      if let id { _ = try rig.decided(id, .backEnd(1)) }
    }
    #expect(rig.now - start <= 3_400_000_000)
    #expect(rig.counters.attemptsStarted > 5)
    try rig.expectEmptyAfterAll()
    #expect(rig.counters.connections[.answered503] == 1)
  }

  @Test func repeatedAcceptanceDoesNotAbortTheConnection() throws {
    let rig = Rig()
    let id = try Client(rig).handOff(to: 3)
    _ = try rig.accepted(id, by: 3)
    #expect(try rig.accepted(id, by: 3).isEmpty)
    #expect(try rig.accepted(id, by: 4) == [.abort(id, backEnd: 4)])
    #expect(rig.counters.lateAcceptances == 2)
  }

  // MARK: Back-end lost

  @Test func backEndLostInEachPhase() throws {
    let rig = Rig()
    let collecting = Client(rig, port: 1)
    try collecting.connect()
    let deciding = Client(rig, port: 2)
    try deciding.connect()
    let undecided = try deciding.request()
    let other = Client(rig, port: 3)
    let elsewhere = try other.handOff(to: 8)
    let victim = Client(rig, port: 4)
    let id = try victim.handOff(to: 7)
    let moved = Client(rig, port: 5)
    _ = try rig.accepted(try moved.handOff(to: 7), by: 7)

    let events = try rig.lost(7)
    #expect(events.first == .returned(7))
    guard events.count == 2, case .decide(let again, _, Route(), excluded: 7) = events[1] else {
      Issue.record("expected one new decision: \(events)")
      return
    }
    #expect(rig.counters.attempts[.lost] == 1)
    #expect(again != id)
    #expect(try rig.lost(7).isEmpty, "it is not waiting any more")
    #expect(try rig.decided(undecided, .backEnd(1)).count == 1)
    #expect(try rig.accepted(elsewhere, by: 8).count == 1)
    #expect(try rig.decided(again, .backEnd(1)).count == 1)
    try rig.expectEmptyAfterAll()
  }

  // MARK: The client goes

  @Test func resetWhileDecidingEndsTheConnection() throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    let id = try client.request()
    #expect(try client.send(.rst, at: Client.get.utf8.count).isEmpty)
    #expect(rig.counters.attempts[.clientGone] == 1)
    #expect(rig.counters.connections[.clientReset] == 1)
    #expect(rig.counters.entries == 0)
    #expect(try rig.decided(id, .backEnd(2)) == [.returned(2)])
  }

  @Test func resetDuringAHandoffThatIsRefusedEndsTheConnection() throws {
    let rig = Rig()
    let client = Client(rig)
    let id = try client.handOff(to: 3)
    let n = Client.get.utf8.count
    #expect(try client.send(.ack, at: n, "more").isEmpty)
    #expect(try client.send(.rst, at: n + 4).isEmpty)
    #expect(try rig.refused(id, .overloaded) == [.returned(3)])
    #expect(rig.counters.connections[.clientReset] == 1)
    #expect(rig.counters.entries == 0)
    #expect(rig.counters.heldBytes == 0)
  }

  @Test func resetWhileAnotherBackEndIsSoughtEndsTheConnection() throws {
    let rig = Rig()
    let client = Client(rig)
    let id = try client.handOff(to: 3)
    let n = Client.get.utf8.count
    #expect(try client.send(.ack, at: n, "more").isEmpty)
    let again = try #require(try rig.refused(id, .overloaded).decision)
    #expect(try client.send(.rst, at: n).isEmpty)
    #expect(rig.counters.packets[.held] == 2, "in the window, but not exact")
    #expect(try client.send(.rst, at: n + 4).isEmpty)
    #expect(rig.counters.packets[.resetAccepted] == 1)
    #expect(rig.counters.connections[.clientReset] == 1)
    #expect(rig.counters.attempts[.clientGone] == 1)
    #expect(rig.counters.heldBytes == 0)
    #expect(try rig.decided(again, .backEnd(5)) == [.returned(5)])
  }

  @Test func segmentsWithoutACKAreNotHeld() throws {
    let rig = Rig()
    let client = Client(rig)
    _ = try client.handOff(to: 3)
    #expect(try client.send(.psh, at: Client.get.utf8.count, "x").isEmpty)
    #expect(rig.counters.packets[.acknowledgmentMissing] == 1)
  }

  @Test func blindResetDuringAHandoffIsLeftToTheBackEnd() throws {
    let rig = Rig()
    let client = Client(rig)
    let id = try client.handOff(to: 3)
    #expect(try client.send(.rst, at: 1_000).isEmpty)
    #expect(try rig.refused(id, .overloaded).decision != nil, "not exact, so the connection lives")
  }

  // MARK: Tombstone

  @Test func lateSegmentsAreDeliveredForASecond() throws {
    let rig = Rig()
    let client = Client(rig)
    let id = try client.handOff(to: 3)
    _ = try rig.accepted(id, by: 3)
    let packet = client.packet(.ack, at: 99, "late".utf8)
    #expect(try rig.receive(packet) == [.deliver(try Sent(packet), backEnd: 3)])
    #expect(try client.syn().isEmpty, "a late duplicate of its own SYN")
    #expect(rig.counters.packets[.synDuplicate] == 1)
    _ = try rig.pass(seconds: 1.1)
    #expect(try rig.receive(packet) == [.unknown(packet)])
    #expect(rig.counters.entries == 0)
  }

  @Test func newSynReplacesATombstone() throws {
    let rig = Rig()
    let client = Client(rig)
    _ = try rig.accepted(try client.handOff(to: 3), by: 3)
    client.initial = client.initial.advanced(by: 5_000)
    _ = try client.handOff(to: 4)
    #expect(rig.openConnections == 1)
    #expect(rig.counters.connectionsOpened == 2)
  }

  @Test func newSynDuringAHandoffIsChallenged() throws {
    let rig = Rig()
    let client = Client(rig)
    _ = try client.handOff(to: 3)
    client.initial = client.initial.advanced(by: 5_000)
    let events = try client.syn()
    client.initial = Client.initial
    try events.onlySegment().expect(.ack, from: client, at: 0, acknowledging: Client.get.utf8.count)
  }
}
