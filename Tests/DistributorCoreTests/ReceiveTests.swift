// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Handoff
import Testing
import Wire

/// The connection collects the request head.
@Suite struct ReceiveTests {
  /// One segment of the client: what it is, how it ends, and what we acknowledge (nil: we say nothing).
  struct Step: Sendable {
    var flags: TCPFlags = .ack
    var at: Int
    var text: String = ""
    var outcome: PacketOutcome
    var acknowledges: Int?
  }

  struct Script: Sendable, CustomTestStringConvertible {
    var name: String
    var steps: [Step]
    /// What travels with the handoff; nil when the head is not complete in the end.
    var request: String?
    var testDescription: String { name }
  }

  static let head = "GET / HTTP/1.0\r\n\r\n"
  static let n = head.utf8.count

  static let scripts = [
    Script(
      name: "one segment", steps: [Step(at: 0, text: head, outcome: .dataInOrder, acknowledges: n)], request: head),
    Script(
      name: "two segments",
      steps: [
        Step(at: 0, text: "GET / HT", outcome: .dataInOrder, acknowledges: 8),
        Step(at: 8, text: "TP/1.0\r\n\r\n", outcome: .dataInOrder, acknowledges: n),
      ], request: head),
    Script(
      name: "reordered",
      steps: [
        Step(at: 8, text: "TP/1.0\r\n\r\n", outcome: .dataOutOfOrder, acknowledges: 0),
        Step(at: 0, text: "GET / HT", outcome: .dataInOrder, acknowledges: n),
      ], request: head),
    Script(
      name: "three in reverse",
      steps: [
        Step(at: 11, text: "1.0\r\n\r\n", outcome: .dataOutOfOrder, acknowledges: 0),
        Step(at: 4, text: "/ HTTP/", outcome: .dataOutOfOrder, acknowledges: 0),
        Step(at: 0, text: "GET ", outcome: .dataInOrder, acknowledges: n),
      ], request: head),
    Script(
      name: "duplicate",
      steps: [
        Step(at: 0, text: "GET / HT", outcome: .dataInOrder, acknowledges: 8),
        Step(at: 0, text: "GET / HT", outcome: .dataDuplicate, acknowledges: 8),
        Step(at: 2, text: "T", outcome: .dataDuplicate, acknowledges: 8),
        Step(at: 8, text: "TP/1.0\r\n\r\n", outcome: .dataInOrder, acknowledges: n),
      ], request: head),
    Script(
      name: "duplicate of what is out of order",
      steps: [
        Step(at: 8, text: "TP", outcome: .dataOutOfOrder, acknowledges: 0),
        Step(at: 8, text: "TP", outcome: .dataDuplicate, acknowledges: 0),
      ]),
    Script(
      name: "overlap, the first copy wins",
      steps: [
        Step(at: 4, text: "/ HTTP", outcome: .dataOutOfOrder, acknowledges: 0),
        Step(at: 0, text: "GET XXXX", outcome: .dataInOrder, acknowledges: 10),
        Step(at: 6, text: "YYYY/1.0\r\n\r\n", outcome: .dataInOrder, acknowledges: n),
      ], request: head),
    Script(
      name: "a segment around an island",
      steps: [
        Step(at: 4, text: "/", outcome: .dataOutOfOrder, acknowledges: 0),
        Step(at: 7, text: "T", outcome: .dataOutOfOrder, acknowledges: 0),
        Step(at: 0, text: "GET Z HZTP/1.0\r\n\r\n", outcome: .dataInOrder, acknowledges: n),
      ], request: head),
    Script(
      name: "starts before rcv.nxt",
      steps: [
        Step(at: 0, text: "GET / HT", outcome: .dataInOrder, acknowledges: 8),
        Step(at: 4, text: "/ HTTP/1.0\r\n\r\n", outcome: .dataInOrder, acknowledges: n),
      ], request: head),
    Script(
      name: "five islands are one too many",
      steps: (1...4).map { Step(at: $0 * 2, text: "x", outcome: .dataOutOfOrder, acknowledges: 0) }
        + [Step(at: 10, text: "x", outcome: .dataTooFragmented, acknowledges: 0)]),
    Script(
      name: "body and pipelined request travel along",
      steps: [Step(at: 0, text: head + "GET /2", outcome: .dataInOrder, acknowledges: n + 6)], request: head + "GET /2"),
    Script(
      name: "a hole behind the head stays behind",
      steps: [
        Step(at: n + 4, text: "body", outcome: .dataOutOfOrder, acknowledges: 0),
        Step(at: 0, text: head, outcome: .dataInOrder, acknowledges: n),
      ], request: head),
    Script(
      name: "beyond the window",
      steps: [
        Step(at: 65_535, text: "x", outcome: .outOfWindow, acknowledges: 0),
        Step(at: 65_535, text: "x", outcome: .outOfWindow),
        Step(at: 65_534, text: "xyz", outcome: .dataOutOfOrder, acknowledges: 0),
      ]),
    Script(
      name: "keep-alive probe",
      steps: [
        Step(at: 0, text: "GET", outcome: .dataInOrder, acknowledges: 3),
        Step(at: 2, outcome: .outOfWindow, acknowledges: 3),
        Step(at: 2, outcome: .outOfWindow),
      ]),
    Script(name: "pure acknowledgment", steps: [Step(at: 0, outcome: .acknowledgment)]),
    Script(
      name: "SYN in the window",
      steps: [
        Step(flags: .syn, at: 5, outcome: .synChallenged, acknowledges: 0),
        Step(flags: .syn, at: 5, outcome: .synChallenged),
      ]),
    Script(
      name: "resets that are not exact",
      steps: [
        Step(flags: .rst, at: 1, outcome: .resetChallenged, acknowledges: 0),
        Step(flags: .rst, at: -1, outcome: .resetIgnored),
        Step(flags: .rst, at: 65_536, outcome: .resetIgnored),
      ]),
    Script(
      name: "request with FIN",
      steps: [Step(flags: [.ack, .fin], at: 0, text: head, outcome: .dataInOrder, acknowledges: n)], request: head),
    Script(
      name: "FIN before its data",
      steps: [
        Step(flags: [.ack, .fin], at: 8, text: "TP/1.0\r\n\r\n", outcome: .dataOutOfOrder, acknowledges: 0),
        Step(at: 0, text: "GET / HT", outcome: .dataInOrder, acknowledges: n),
      ], request: head),
    Script(
      name: "FIN before data that is there",
      steps: [
        Step(at: 8, text: "TP/1.0\r\n\r\n", outcome: .dataOutOfOrder, acknowledges: 0),
        Step(flags: [.ack, .fin], at: 4, outcome: .fin, acknowledges: 0),
        Step(at: 0, text: "GET / HT", outcome: .dataInOrder, acknowledges: n),
      ], request: head),
    Script(
      name: "urgent data is data",
      steps: [Step(flags: [.ack, .urg], at: 0, text: head, outcome: .dataInOrder, acknowledges: n)], request: head),
    Script(
      name: "no ACK flag",
      steps: [Step(flags: .psh, at: 0, text: head, outcome: .acknowledgmentMissing)]),
  ]

  @Test(arguments: scripts, [false, true]) func script(_ script: Script, v6: Bool) throws {
    let rig = Rig()
    let client = Client(rig, v6: v6)
    try client.connect()
    var decision: HandoffID?
    for (index, step) in script.steps.enumerated() {
      let before = rig.counters.packets[step.outcome]
      let events = try client.send(step.flags, at: step.at, step.text)
      let ended = rig.counters.packets.all.filter { $0.value > 0 }
      #expect(rig.counters.packets[step.outcome] == before + 1, "step \(index): \(ended)")
      // A segment that has the request and all else that came is acknowledged by the back-end.
      let reach = script.steps[...index].map { $0.at + $0.text.utf8.count }.max()
      if events.decision != nil, step.at == 0, step.text.utf8.count == reach {
        #expect(events.segments.isEmpty, "step \(index): \(events)")
      } else if let acknowledged = step.acknowledges {
        events.segments.first?.expect(.ack, from: client, at: 0, acknowledging: acknowledged, "")
        #expect(events.segments.count == 1, "step \(index): \(events)")
      } else {
        #expect(events.segments.isEmpty, "step \(index): \(events)")
      }
      decision = decision ?? events.decision
    }
    #expect((decision != nil) == (script.request != nil))
    if let decision, let request = script.request {
      let events = try rig.decided(decision, .backEnd(1))
      guard case .handOff(_, _, let snapshot, request: request)? = events.first else {
        Issue.record("\(request.debugDescription) is not what was handed off: \(events)")
        return
      }
      #expect(snapshot.receiveNext == client.initial.advanced(by: 1 + request.utf8.count))
    }
    try rig.expectEmptyAfterAll()
  }

  @Test func acknowledgmentOfWhatWasNeverSentIsChallengedOnce() throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    let challenge = try client.send(.ack, acknowledging: 1).onlySegment()
    challenge.expect(.ack, from: client, at: 0, acknowledging: 0)
    #expect(try client.send(.ack, "GET", acknowledging: -1).isEmpty, "within the limit's interval")
    #expect(rig.counters.packets[.acknowledgmentInvalid] == 2)
    #expect(rig.counters.challengesSuppressed == 1)
    _ = try rig.pass(seconds: 0.51)
    #expect(try client.send(.ack, acknowledging: 1).count == 1)
  }

  @Test func timestampsAreCheckedAndEchoed() throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    client.timestamps!.value = 8_000
    let first = try client.send(.ack, at: 0, "GET /").onlySegment()
    #expect(first.segment.options.timestamps?.echo == 8_000)
    client.timestamps!.value = 8_500
    let gap = try client.send(.ack, at: 10, "x").onlySegment()
    #expect(gap.segment.options.timestamps?.echo == 8_000, "a segment behind a hole does not move ts.recent")
    client.timestamps!.value = 7_999
    _ = try client.send(.ack, at: 5, "a")
    #expect(rig.counters.packets[.timestampOld] == 1)
    client.timestamps = nil
    #expect(try client.send(.ack, at: 5, "a").isEmpty)
    #expect(rig.counters.packets[.timestampMissing] == 1)
    #expect(try client.send(.rst).isEmpty, "not at rcv.nxt")
    #expect(try client.send(.rst, at: 5).isEmpty)
    #expect(rig.counters.connections[.clientReset] == 1, "a reset needs no timestamps")
  }

  @Test func timestampsNeverRunBackwards() throws {
    let rig = Rig()
    let client = Client(rig)
    client.learn(try client.syn())
    var last = client.timestamps!.echo
    _ = try client.send(.ack)
    for offset in 0..<50 {
      _ = try rig.pass(seconds: 0.0004)
      let value = try client.send(.ack, at: offset, "G").segments.first?.segment.options.timestamps?.value
      guard let value else { break }
      #expect(Int32(truncatingIfNeeded: value &- last) >= 0)
      last = value
    }
  }

  @Test func windowShrinksByWhatIsBuffered() throws {
    let rig = Rig()
    let client = Client(rig)
    try client.connect()
    let body = String(repeating: "b", count: 1_000)
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n"
    var offset = 0
    var windows: [Int] = []
    for text in [head] + Array(repeating: body, count: 70) {
      let events = try client.send(.ack, at: offset, text)
      if let sent = events.segments.first { windows.append(Int(sent.segment.window) << 7) }
      if let end = events.segments.first.map({ client.initial.distance(to: $0.segment.acknowledgment) - 1 }) {
        offset = max(offset, end)
      }
    }
    #expect(offset == 65_535, "all that the window allows, no more")
    #expect(windows.last == 0)
    #expect(windows == windows.sorted(by: >))
    #expect(rig.counters.bufferBytes == 65_536)
    // The client probes the closed window.
    let probe = try client.send(.ack, at: offset, "b").segments
    #expect(probe.count <= 1)
    try rig.expectEmptyAfterAll()
  }
}
