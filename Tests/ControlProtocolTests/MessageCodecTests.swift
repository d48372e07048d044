// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import Handoff
import Testing
import Wire

@Suite("Message codecs")
struct MessageCodecTests {
  @Test("golden vectors", arguments: MessageSamples.golden)
  func golden(_ golden: MessageSamples.Golden) throws {
    let expected = MessageSamples.bytes(golden.hex)
    #expect(MessageSamples.encoded(golden.message) == expected)
    #expect(try MessageSamples.decodeAll(expected) == [golden.message])
  }

  @Test("decode(encode(x)) == x", arguments: 0..<SeededGenerator.messageKinds)
  func roundTrip(kind: Int) throws {
    let seed = 0x5eed_0000 + UInt64(kind)
    var generator = SeededGenerator(seed: seed)
    for round in 0..<300 {
      let message = generator.message(kind: kind)
      let decoded = try MessageSamples.decodeAll(MessageSamples.encoded(message))
      #expect(decoded == [message], "seed \(seed), round \(round)")
    }
  }

  @Test("a handoff encoded from parts is the same frame")
  func handoffFromParts() {
    let request = HandoffRequest(id: HandoffID(5), snapshot: MessageSamples.snapshot, request: [1, 2, 3])
    var bytes: [UInt8] = [0xff]
    Message.encodeHandoff(
      id: request.id, snapshot: request.snapshot, request: request.request.span, into: &bytes)
    #expect(Array(bytes.dropFirst()) == MessageSamples.encoded(.handoff(request)))
  }

  @Test("decisions written one by one are the same frame; none leave nothing")
  func decisionFrames() throws {
    var generator = SeededGenerator(seed: 11)
    let decisions = (0..<1000).map { _ in generator.decision() }
    var bytes: [UInt8] = [0xff]
    var writer = DecisionFrameWriter.begin(in: &bytes)
    for decision in decisions { writer.append(decision, to: &bytes) }
    writer.end(in: &bytes)
    #expect(Array(bytes.dropFirst()) == MessageSamples.encoded(.decisions(decisions)))

    var empty: [UInt8] = [0xff]
    var none = DecisionFrameWriter.begin(in: &empty)
    none.end(in: &empty)
    #expect(empty == [0xff])
  }

  @Test("requests are read in place as the message holds them")
  func requestsInPlace() throws {
    var generator = SeededGenerator(seed: 12)
    guard case .decisionRequests(let requests) = generator.message(kind: 7) else { return }
    let bytes = MessageSamples.encoded(.decisionRequests(requests))
    let body = Array(bytes.dropFirst(FrameHeader.length))
    #expect(try DecisionCodec.requestCount(in: body.span) == requests.count)
    for index in requests.indices {
      #expect(try DecisionCodec.request(at: index, in: body.span) == requests[index])
    }
  }

  @Test("lists above the batch limit become several frames, in order")
  func batchesSplit() throws {
    let decisions = (0..<ControlProtocolLimit.batch + 3).map { Decision(id: UInt64($0), outcome: .noBackEnd) }
    let bytes = MessageSamples.encoded(.decisions(decisions))
    let messages = try MessageSamples.decodeAll(bytes)
    #expect(
      messages == [
        .decisions(Array(decisions.prefix(ControlProtocolLimit.batch))), .decisions(Array(decisions.suffix(3))),
      ])
    var written: [UInt8] = []
    var writer = DecisionFrameWriter.begin(in: &written)
    for decision in decisions { writer.append(decision, to: &written) }
    writer.end(in: &written)
    #expect(written == bytes)
  }

  @Test("text above 255 bytes is cut at a character border")
  func longText() throws {
    let text = String(repeating: "é", count: 200)
    let messages = try MessageSamples.decodeAll(MessageSamples.encoded(.goodbye(text)))
    #expect(messages == [.goodbye(String(repeating: "é", count: 127))])
    let exact = String(repeating: "x", count: 255)
    #expect(try MessageSamples.decodeAll(MessageSamples.encoded(.goodbye(exact))) == [.goodbye(exact)])
  }

  @Test("a header that is not whole yet is no error")
  func partialHeader() throws {
    let bytes = MessageSamples.encoded(.handoffAccepted(HandoffID(1)))
    for count in 0..<FrameHeader.length {
      #expect(try FrameHeader.parse(Array(bytes.prefix(count)).span) == nil)
    }
    #expect(try FrameHeader.parse(bytes.span) == FrameHeader(bodyLength: 8, type: 49))
  }
}
