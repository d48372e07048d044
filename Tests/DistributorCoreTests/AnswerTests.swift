// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Handoff
import Testing
import Wire

/// What the distributor answers itself, and how it closes.
@Suite struct AnswerTests {
  struct Fault: Sendable, CustomTestStringConvertible {
    var status: Int
    var reason: String
    var request: String
    var outcome: ConnectionOutcome
    var hasBody = true
    var testDescription: String { "\(status) \(request.prefix(20).debugDescription)" }
  }

  static let faults = [
    Fault(status: 400, reason: "Bad Request", request: "\u{1}\u{2}garbage\r\n\r\n", outcome: .answered400),
    Fault(status: 400, reason: "Bad Request", request: "GET / HTTP/1.1\r\n\r\n", outcome: .answered400),
    Fault(
      status: 400, reason: "Bad Request", request: "HEAD / HTTP/1.1\r\n\r\n", outcome: .answered400, hasBody: false),
    Fault(
      status: 400, reason: "Bad Request", request: "\r\nHEAD / HTTP/1.1\r\n\r\n", outcome: .answered400,
      hasBody: false),
    Fault(
      status: 414, reason: "URI Too Long", request: "GET /" + String(repeating: "a", count: 500) + " HTTP/1.1\r\n",
      outcome: .answered414),
    Fault(
      status: 431, reason: "Request Header Fields Too Large",
      request: "GET / HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "a", count: 1_200), outcome: .answered431),
    Fault(
      status: 501, reason: "Not Implemented",
      request: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", outcome: .answered501),
    Fault(
      status: 505, reason: "HTTP Version Not Supported", request: "GET / HTTP/3.0\r\nHost: a\r\n\r\n",
      outcome: .answered505),
  ]

  static func limits(_ configuration: inout ResponderConfiguration) {
    configuration.headLimit = 1_024
    configuration.targetLimit = 400
  }

  @Test(arguments: faults) func wrongRequestIsAnsweredAndClosed(_ fault: Fault) throws {
    let rig = Rig(AnswerTests.limits)
    rig.setClock(784_111_777)
    let client = Client(rig)
    try client.connect()
    let answer = try client.send(.ack, fault.request).onlySegment()
    let n = fault.request.utf8.count
    let body = "\(fault.status) \(fault.reason)\n"
    let expected =
      "HTTP/1.1 \(fault.status) \(fault.reason)\r\nContent-Type: text/plain\r\nContent-Length: \(body.utf8.count)\r\n"
      + "Connection: close\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n" + (fault.hasBody ? body : "")
    answer.expect([.ack, .psh, .fin], from: client, at: 0, acknowledging: n, expected)
    #expect(rig.counters.bufferBytes == 0)
    try closes(rig, client, answerLength: answer.payload.count, received: n, fault.outcome)
  }

  /// The client acknowledges the answer, sends more, then its FIN.
  private func closes(
    _ rig: Rig, _ client: Client, answerLength: Int, received n: Int, _ outcome: ConnectionOutcome
  ) throws {
    let total = answerLength + 1
    let more = try client.send(.ack, at: n, "more", acknowledging: total).onlySegment()
    more.expect(.ack, from: client, at: total, acknowledging: n + 4, "")
    #expect(rig.counters.packets[.dataDiscarded] == 1)
    #expect(rig.openConnections == 1)
    let last = try client.send([.ack, .fin], at: n + 4, acknowledging: total).onlySegment()
    last.expect(.ack, from: client, at: total, acknowledging: n + 5, "")
    #expect(rig.openConnections == 0)
    #expect(rig.counters.connections[outcome] == 1)
    #expect(rig.counters.entries == 1, "TIME_WAIT")
    let again = try client.send([.ack, .fin], at: n + 4, acknowledging: total).onlySegment()
    again.expect(.ack, from: client, at: total, acknowledging: n + 5, "")
    #expect(try client.send(.rst, at: n + 5).isEmpty)
    #expect(rig.counters.packets[.timeWait] == 2)
    _ = try rig.pass(seconds: 1.1)
    #expect(rig.counters.entries == 0)
    try rig.expectEmptyAfterAll()
  }

  @Test func dateIsLeftOutWithoutAClock() throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    #expect(try client.send(.ack, "\u{1}").onlySegment().text.contains("Date") == false)
  }

  @Test func answerIsRetransmittedUnchangedThenReset() throws {
    let rig = Rig()
    rig.setClock(1_000_000)
    let client = Client(rig)
    try client.connect()
    let first = try client.send(.ack, "\u{1}").onlySegment()
    let start = rig.now
    var times: [Double] = []
    var last: Sent?
    while rig.openConnections == 1 {
      for sent in try rig.pass(seconds: 0.02).segments {
        last = sent
        if sent.segment.flags.contains(.rst) { break }
        #expect(sent.payload == first.payload)
        #expect(sent.segment.sequence == first.segment.sequence)
        times.append(Double(rig.now - start) / 1e9)
      }
    }
    #expect(times.count == 4)
    for (time, wanted) in zip(times, [1.0, 3.0, 7.0, 15.0]) { #expect(abs(time - wanted) < 0.05, "\(times)") }
    #expect(last?.segment.flags == [.rst, .ack])
    #expect(rig.counters.answersUnacknowledged == 1)
    #expect(rig.counters.connections[.answered400] == 1)
    try rig.expectEmptyAfterAll()
  }

  @Test func answerIsCutToTheClientsSegmentsAndWindow() throws {
    let rig = Rig()
    let client = Client(rig, options: TCPOptions(maximumSegmentSize: 60))
    client.window = 100
    try client.connect()
    var text = ""
    var events = try client.send(.ack, "\u{1}")
    #expect(events.segments.map(\.payload.count) == [88, 12])
    var rounds = 0
    while !events.segments.contains(where: { $0.segment.flags.contains(.fin) }), rounds < 10 {
      text += events.segments.map(\.text).joined()
      events = try client.send(.ack, at: 1, acknowledging: text.utf8.count)
      rounds += 1
    }
    text += events.segments.map(\.text).joined()
    #expect(text.hasSuffix("\r\n\r\n400 Bad Request\n"))
    try rig.expectEmptyAfterAll()
  }

  @Test func closedWindowIsProbed() throws {
    let rig = Rig()
    let client = Client(rig)
    client.window = 0
    try client.connect()
    #expect(try client.send(.ack, "\u{1}").isEmpty)
    let probe = try rig.pass(seconds: 1.05).segments
    #expect(probe.map(\.payload.count) == [1])
    client.window = 500
    let rest = try client.send(.ack, at: 1, acknowledging: 1).onlySegment()
    rest.expect([.ack, .psh, .fin], from: client, at: 1, acknowledging: 1)
    #expect(rest.text.hasPrefix("TTP/1.1 400"))
  }

  @Test func partlyAcknowledgedAnswerIsSentFromThere() throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    let first = try client.send(.ack, "\u{1}").onlySegment()
    #expect(try client.send(.ack, at: 1, acknowledging: 20).isEmpty)
    let again = try rig.pass(seconds: 1.05).segments
    #expect(again.count == 1)
    again[0].expect([.ack, .psh, .fin], from: client, at: 20, acknowledging: 1)
    #expect(again[0].payload == Array(first.payload[20...]))
    let only = try client.send(.ack, at: 1, acknowledging: first.payload.count)
    #expect(only.isEmpty)
    let fin = try rig.pass(seconds: 1.05).segments
    fin[0].expect([.ack, .psh, .fin], from: client, at: first.payload.count, acknowledging: 1, "")
    _ = try client.send(.ack, at: 1, acknowledging: first.payload.count + 2)
    #expect(rig.counters.packets[.acknowledgmentInvalid] == 1)
  }

  @Test func lingeringEndsWithoutTheClientsFIN() throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    let first = try client.send(.ack, "\u{1}").onlySegment()
    #expect(try client.send(.ack, at: 1, acknowledging: first.payload.count + 1).isEmpty)
    #expect(try rig.pass(seconds: 4.9).isEmpty)
    #expect(rig.openConnections == 1)
    #expect(try rig.pass(seconds: 0.2).isEmpty)
    #expect(rig.counters.entries == 0)
    #expect(rig.counters.answersUnacknowledged == 0)
  }

  @Test func resetWhileClosingKeepsTheOutcome() throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    _ = try client.send(.ack, "\u{1}")
    #expect(try client.send(.rst, at: 1).isEmpty)
    #expect(rig.counters.connections[.answered400] == 1)
    #expect(rig.counters.entries == 0)
  }

  // MARK: Slow and leaving clients

  @Test func incompleteHeadIs408() throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    for offset in 0..<9 {
      _ = try client.send(.ack, at: offset, "GET / HTTP"[offset])
      #expect(try rig.pass(seconds: 1).isEmpty)
    }
    let answer = try rig.pass(seconds: 1.1).segments
    #expect(answer.count == 1)
    answer[0].expect([.ack, .psh, .fin], from: client, at: 0, acknowledging: 9)
    #expect(answer[0].text.hasPrefix("HTTP/1.1 408 "))
    try rig.expectEmptyAfterAll()
    #expect(rig.counters.connections[.answered408] == 1)
  }

  @Test func silenceIsClosedWithoutAnAnswer() throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    let closing = try rig.pass(seconds: 10.1).segments
    #expect(closing.count == 1)
    closing[0].expect([.ack, .psh, .fin], from: client, at: 0, acknowledging: 0, "")
    let last = try client.send([.ack, .fin], at: 0, acknowledging: 1).onlySegment()
    last.expect(.ack, from: client, at: 1, acknowledging: 1)
    try rig.expectEmptyAfterAll()
    #expect(rig.counters.connections[.idle] == 1)
  }

  @Test("The client closes before its request is complete", arguments: ["", "GET / HT"])
  func earlyFIN(_ text: String) throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    let closing = try client.send([.ack, .fin], text).onlySegment()
    closing.expect([.ack, .psh, .fin], from: client, at: 0, acknowledging: text.utf8.count + 1, "")
    #expect(try client.send(.ack, at: text.utf8.count + 1, acknowledging: 1).isEmpty)
    #expect(rig.counters.connections[.clientClosed] == 1)
    try rig.expectEmptyAfterAll()
  }

  @Test func heldFINIsTakenWhenWeAnswer() throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    let n = Client.get.utf8.count
    let id = try #require(try client.send([.ack, .fin], Client.get).decision)
    let answer = try rig.decided(id, .noBackEnd).onlySegment()
    answer.expect([.ack, .psh, .fin], from: client, at: 0, acknowledging: n + 1)
    #expect(try client.send(.ack, at: n + 1, acknowledging: answer.payload.count + 1).isEmpty)
    #expect(rig.openConnections == 0)
  }
}

extension String {
  subscript(offset: Int) -> String { String(self[index(startIndex, offsetBy: offset)]) }
}
