// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Handoff
import Testing
import Wire

@Suite struct CookieTests {
  /// A responder that answers every SYN with a cookie.
  private func rig() -> Rig { Rig { $0.maximumEmbryonic = 0 } }

  struct Offer: Sendable, CustomTestStringConvertible {
    var name: String
    var options: TCPOptions
    var v6 = false
    /// What the snapshot says in the end.
    var segmentSize: UInt16
    var windowScale: TCPSnapshot.WindowScale?
    var sackPermitted = false
    var testDescription: String { name }
  }

  static let clock = TCPTimestamps(value: 7_000, echo: 0)
  static let offers = [
    Offer(
      name: "everything", options: Client.allOptions, segmentSize: 1380, windowScale: .init(send: 9, receive: 7),
      sackPermitted: true),
    Offer(
      name: "everything, IPv6", options: Client.allOptions, v6: true, segmentSize: 1380,
      windowScale: .init(send: 9, receive: 7), sackPermitted: true),
    Offer(name: "nothing, IPv4", options: TCPOptions(), segmentSize: 536),
    Offer(name: "nothing, IPv6", options: TCPOptions(), v6: true, segmentSize: 1220),
    Offer(
      name: "scale and SACK without timestamps",
      options: TCPOptions(maximumSegmentSize: 1460, windowScale: 8, sackPermitted: true), segmentSize: 1460,
      windowScale: .init(send: 8, receive: 7), sackPermitted: true),
    Offer(
      name: "a scale that only timestamps carry exactly", options: TCPOptions(maximumSegmentSize: 1460, windowScale: 9),
      segmentSize: 1460, windowScale: .init(send: 8, receive: 7)),
    Offer(
      name: "timestamps alone", options: TCPOptions(maximumSegmentSize: 9_000, timestamps: clock), segmentSize: 1460),
    Offer(
      name: "scale 13, no SACK", options: TCPOptions(maximumSegmentSize: 100, windowScale: 13, timestamps: clock),
      segmentSize: 536, windowScale: .init(send: 13, receive: 7)),
    Offer(
      name: "scale 14, of which the window looks half its size",
      options: TCPOptions(maximumSegmentSize: 1460, windowScale: 14, timestamps: clock),
      segmentSize: 1460, windowScale: .init(send: 13, receive: 7)),
    Offer(
      name: "scale 0 and SACK", options: TCPOptions(windowScale: 0, sackPermitted: true, timestamps: clock),
      segmentSize: 536, windowScale: .init(send: 0, receive: 7), sackPermitted: true),
  ]

  @Test("A cookie carries the options", arguments: offers) func options(_ offer: Offer) throws {
    let rig = rig()
    let client = Client(rig, v6: offer.v6, options: offer.options)
    let synAck = try client.syn().onlySegment()
    #expect(rig.counters.packets[.synCookieSent] == 1)
    #expect(rig.counters.entries == 0)
    #expect((synAck.segment.options.windowScale != nil) == (offer.windowScale != nil))
    #expect(synAck.segment.options.sackPermitted == offer.sackPermitted)
    client.learn([.transmit(synAck)])
    #expect(try client.send(.ack).isEmpty)
    #expect(rig.counters.packets[.cookieAccepted] == 1)
    #expect(rig.openConnections == 1)
    let id = try client.request()
    let snapshot = try #require(try rig.decided(id, .backEnd(1)).snapshot)
    #expect(snapshot.maximumSegmentSize == offer.segmentSize)
    #expect(snapshot.windowScale == offer.windowScale)
    #expect(snapshot.sackPermitted == offer.sackPermitted)
    #expect((snapshot.timestamps != nil) == (offer.options.timestamps != nil))
    #expect(snapshot.sendWindow == UInt32(client.window) << UInt32(offer.windowScale?.send ?? 0))
    #expect(snapshot.clientInitialSequence == client.initial)
    try rig.expectEmptyAfterAll()
  }

  /// The server's kernel takes the client's echo for the time of the SYN-ACK.
  @Test func theTimestampIsHardlyOlderThanTheClock() throws {
    let plain = Rig()
    let exact = try Client(plain, options: Client.allOptions).syn().onlySegment()
    var ages: Set<UInt32> = []
    for milliseconds in 0..<8 as Range<UInt64> {
      for scale in [nil] + (0...14).map(Optional.init) as [UInt8?] {
        let rig = rig()
        _ = try rig.pass(nanoseconds: milliseconds * 1_000_000)
        var options = Client.allOptions
        options.windowScale = scale
        let synAck = try Client(rig, options: options).syn().onlySegment()
        let value = try #require(synAck.segment.options.timestamps).value
        let clock = try #require(exact.segment.options.timestamps).value &+ UInt32(milliseconds)
        ages.insert(clock &- value)
      }
    }
    #expect(ages == [0, 1, 2, 3], "milliseconds")
  }

  @Test func requestInTheFirstSegmentIsTaken() throws {
    let rig = rig()
    let client = Client(rig)
    client.learn(try client.syn())
    _ = try client.request()
    #expect(rig.counters.packets[.cookieAccepted] == 1)
  }

  @Test func timestampsOfCookiesDoNotRunAhead() throws {
    let rig = rig()
    let plain = Rig()
    for _ in 0..<40 {
      let cookie = try Client(rig).syn().onlySegment().segment.options.timestamps!.value
      let state = Client(plain)
      let clock = try state.syn().onlySegment().segment.options.timestamps!.value
      let ahead = Int32(truncatingIfNeeded: cookie &- clock)
      #expect(ahead <= 0 && ahead > -64)
      _ = try rig.pass(seconds: 0.003)
      _ = try plain.pass(seconds: 0.003)
    }
  }

  @Test func cookieAgesOut() throws {
    let period = 68.8
    for (age, valid) in [(0.0, true), (period, true), (2 * period, false), (3 * period, false), (40 * period, false)] {
      let rig = rig()
      let client = Client(rig)
      client.learn(try client.syn())
      _ = try rig.pass(seconds: age)
      // Cookies go on being sent, so that only the age of this one decides.
      _ = try Client(rig, port: 9).syn()
      let events = try client.send(.ack)
      #expect(events.isEmpty == valid, "after \(age) s: \(events)")
      #expect(rig.counters.cookiesRejected == (valid ? 0 : 1), "after \(age) s")
    }
  }

  @Test func cookiesAreNotLookedForWhenNoneWereSent() throws {
    let rig = Rig()
    let client = Client(rig)
    let packet = client.packet(.ack)
    #expect(try rig.receive(packet) == [.unknown(packet)])
    #expect(rig.counters.cookiesRejected == 0)
  }

  @Test func everyChangeOfTheNumbersIsRejected() throws {
    let rig = rig()
    let client = Client(rig)
    client.learn(try client.syn())
    let right = client.serverInitial
    for bit in 0..<32 {
      client.serverInitial = SequenceNumber(right.rawValue ^ 1 << UInt32(bit))
      let packet = client.packet(.ack)
      #expect(try rig.receive(packet) == [.unknown(packet)], "bit \(bit) of the acknowledgment")
    }
    client.serverInitial = right
    for offset in [-1, 1, 2, 1_000, 1 << 30] {
      let packet = client.packet(.ack, at: offset)
      #expect(try rig.receive(packet) == [.unknown(packet)], "sequence number off by \(offset)")
    }
    let other = Client(rig, port: 40_001)
    other.serverInitial = right
    let packet = other.packet(.ack)
    #expect(try rig.receive(packet) == [.unknown(packet)], "another flow")
    for flags in [TCPFlags.rst, [.rst, .ack], [.syn, .ack], .fin] {
      #expect(try rig.receive(client.packet(flags)).segments.isEmpty, "\(flags.names)")
    }
    #expect(rig.counters.entries == 0)
    #expect(try rig.receive(client.packet(.ack)).isEmpty)
    #expect(rig.openConnections == 1)
  }

  @Test func otherKeysMakeOtherCookies() throws {
    // The rig's keys are fixed; flows and numbers are what the hash is over.
    let rig = rig()
    var seen: Set<SequenceNumber> = []
    for port in 1...200 {
      let client = Client(rig, port: UInt16(port))
      seen.insert(try client.syn().onlySegment().segment.sequence)
      client.initial = client.initial.advanced(by: 1)
      seen.insert(try client.syn().onlySegment().segment.sequence)
    }
    #expect(seen.count == 400)
    let topBytes = Set(seen.map { $0.rawValue >> 24 })
    #expect(topBytes.count > 100, "the counter and the MSS are masked per flow")
  }

  @Test("A cookie's answer meets the entry of a repeated SYN", arguments: [true, false])
  func cookieThenEntry(timestamps: Bool) throws {
    let rig = Rig { $0.maximumEmbryonic = 1 }
    let other = Client(rig, port: 1)
    other.learn(try other.syn())
    var options = Client.allOptions
    if !timestamps { options.timestamps = nil }
    let client = Client(rig, port: 2, options: options)
    client.learn(try client.syn())
    let cookie = client.serverInitial
    #expect(try other.send(.ack).isEmpty)
    let entry = try client.syn().onlySegment()
    #expect(rig.counters.packets[.synAccepted] == 2 && entry.segment.sequence != cookie)
    #expect(try client.send(.ack).isEmpty, "not reset")
    let id = try client.request()
    let snapshot = try #require(try rig.decided(id, .backEnd(1)).snapshot)
    #expect(snapshot.sendNext == cookie.advanced(by: 1))
    #expect(snapshot.windowScale != nil, "as the cookie's SYN-ACK said")
    #expect(snapshot.sackPermitted)
    try rig.expectEmptyAfterAll()
  }

  @Test func stateIsPreferredToCookies() throws {
    let rig = Rig { $0.maximumEmbryonic = 2 }
    for port in 1...3 { _ = try Client(rig, port: UInt16(port)).syn() }
    #expect(rig.counters.packets[.synAccepted] == 2)
    #expect(rig.counters.packets[.synCookieSent] == 1)
    #expect(rig.counters.handshakesStarted == 2)
    try rig.expectEmptyAfterAll()
  }
}
