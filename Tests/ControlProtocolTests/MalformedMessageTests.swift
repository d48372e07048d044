// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import Handoff
import Testing

@Suite("Malformed messages")
struct MalformedMessageTests {
  struct Case: Sendable, CustomStringConvertible {
    var description: String
    var hex: String
    var error: ControlProtocolError
  }

  private static let zeros = "0000000000000000"

  static let cases: [Case] = [
    Case(description: "body above 1 MiB", hex: "00100001 02000000", error: .bodyTooLong),
    Case(description: "largest length", hex: "ffffffff 02000000", error: .bodyTooLong),
    Case(description: "reserved byte", hex: "00000000 02000001", error: .reservedBytesNotZero),
    Case(description: "HTTP on the control port", hex: "47455420 2f204854", error: .reservedBytesNotZero),
    Case(description: "type 0", hex: "00000000 00000000", error: .unknownType),
    Case(description: "type 255", hex: "00000000 ff000000", error: .unknownType),
    Case(description: "ping with a body", hex: "00000001 02000000 00", error: .trailingBytes),
    Case(description: "hello without name", hex: "0000000b 01000000 0001 03 0000000000000000", error: .truncated),
    Case(description: "hello of role 9", hex: "0000000c 01000000 0001 09 0000000000000000 00", error: .invalidRole),
    Case(description: "name is not UTF-8", hex: "00000003 04000000 02 c328", error: .invalidUTF8),
    Case(description: "overlong UTF-8", hex: "00000003 04000000 02 c080", error: .invalidUTF8),
    Case(description: "text longer than the body", hex: "00000002 04000000 05 61", error: .truncated),
    Case(description: "empty goodbye body", hex: "00000000 04000000", error: .truncated),
    Case(description: "more services than bytes", hex: "00000002 11000000 0001", error: .truncated),
    Case(description: "65535 services", hex: "00000002 11000000 ffff", error: .tooManyElements),
    Case(
      description: "65535 back-ends", hex: "0000000a 20000000 0000000000000000 ffff", error: .tooManyElements),
    Case(
      description: "load report state 0", hex: "00000009 12000000 00000000 00000000 00", error: .invalidBackEndState),
    Case(
      description: "load report state 4", hex: "00000009 12000000 00000000 00000000 04", error: .invalidBackEndState),
    Case(description: "half a returned assignment", hex: "00000003 14000000 000100", error: .truncated),
    Case(description: "half a decision", hex: "00000001 21000000 00", error: .truncated),
    Case(
      description: "outcome 0", hex: "00000014 21000000 0000000000000001 00 00 0000 \(zeros)",
      error: .invalidDecisionOutcome),
    Case(
      description: "outcome 4", hex: "00000014 21000000 0000000000000001 04 00 0000 \(zeros)",
      error: .invalidDecisionOutcome),
    Case(
      description: "padding of a decision", hex: "00000014 21000000 0000000000000001 01 01 0000 \(zeros)",
      error: .invalidFlags),
    Case(
      description: "back-end where none is", hex: "00000014 21000000 0000000000000001 02 00 0001 \(zeros)",
      error: .invalidFlags),
    Case(
      description: "credits without a time",
      hex: "00000014 21000000 0000000000000001 01 00 0000 0000 0001 00000000", error: .invalidFlags),
    Case(
      description: "lease without a back-end",
      hex: "00000014 21000000 0000000000000001 03 00 0000 0001 0001 00000001", error: .invalidFlags),
    Case(description: "half a lease account", hex: "00000008 1d000000 \(zeros)", error: .truncated),
    Case(
      description: "reserved bytes of a lease account",
      hex: "00000018 1d000000 \(zeros) \(zeros) 0000 0000 0000 0001", error: .invalidFlags),
    Case(
      description: "affinity key without a lifetime",
      hex: """
        0000002c 13000000
        0000000000000001 0000000000000001 0000000000000001 0000000000000000 00000000 00000000 ffff 0000
        """, error: .invalidFlags),
    Case(
      description: "reserved bytes of a request",
      hex: """
        0000002c 13000000
        0000000000000001 0000000000000001 0000000000000000 0000000000000000 00000000 00000000 ffff 0001
        """, error: .invalidFlags),
    Case(description: "257 rules", hex: "00000012 22000000 \(zeros) \(zeros) 0101", error: .tooManyElements),
    Case(
      description: "stickiness 3", hex: "0000001a 22000000 \(zeros) \(zeros) 0001 00 00 03 00 00000001",
      error: .invalidRule),
    Case(
      description: "stickiness without a lifetime",
      hex: "0000001a 22000000 \(zeros) \(zeros) 0001 00 00 01 00 00000000", error: .invalidRule),
    Case(
      description: "lifetime without stickiness",
      hex: "0000001a 22000000 \(zeros) \(zeros) 0001 00 00 00 00 00000001", error: .invalidRule),
    Case(
      description: "65 hosts", hex: "0000001b 22000000 \(zeros) \(zeros) 0001 00 00 00 00 00000000 41",
      error: .tooManyElements),
    Case(
      description: "host flag 2", hex: "0000001e 22000000 \(zeros) \(zeros) 0001 00 00 00 00 00000000 01 0161 02",
      error: .invalidFlags),
    Case(
      description: "prefix of 129 bits",
      hex: "00000030 22000000 \(zeros) \(zeros) 0001 00 00 00 00 00000000 00 00 00 00 01 \(zeros) \(zeros) 81",
      error: .invalidRule),
    Case(
      description: "17 pools",
      hex: "00000021 10000000 00000000000000000000ffff0a000003 020102030405 1b59 1f90 0064 00004e20 11",
      error: .tooManyElements),
    Case(description: "refusal 0", hex: "00000009 32000000 0000000000000001 00", error: .invalidHandoffRefusal),
    Case(description: "refusal 7", hex: "00000009 32000000 0000000000000001 07", error: .invalidHandoffRefusal),
    Case(description: "short handoff id", hex: "00000007 31000000 00000000000001", error: .truncated),
    Case(description: "long handoff id", hex: "00000009 34000000 000000000000000100", error: .trailingBytes),
    Case(description: "handoff without snapshot", hex: "00000008 30000000 0000000000000001", error: .truncated),
    Case(
      description: "window scale 15", hex: handoff(tail: "01 0f 0a 00 00000000 00000000"), error: .invalidWindowScale),
    Case(
      description: "receive scale 255", hex: handoff(tail: "01 00 ff 00 00000000 00000000"), error: .invalidWindowScale),
    Case(description: "scale without flag", hex: handoff(tail: "02 01 00 00 00000000 00000000"), error: .invalidFlags),
    Case(
      description: "timestamps without flag", hex: handoff(tail: "00 00 00 00 00000001 00000000"), error: .invalidFlags),
    Case(
      description: "unknown snapshot flag", hex: handoff(tail: "10 00 00 00 00000000 00000000"), error: .invalidFlags),
    Case(description: "snapshot padding", hex: handoff(tail: "00 00 00 01 00000000 00000000"), error: .invalidFlags),
  ]

  /// A handoff of zeros up to the flags.
  private static func handoff(tail: String) -> String {
    "0000004e 30000000" + String(repeating: "00", count: 8 + 36 + 20 + 2) + tail
  }

  @Test("a named error", arguments: cases)
  func malformed(_ example: Case) {
    #expect(throws: example.error) { try MessageSamples.decodeAll(MessageSamples.bytes(example.hex)) }
  }

  @Test("a list above its bound is refused")
  func listBound() {
    let body = [UInt8](repeating: 0, count: (ControlProtocolLimit.batch + 1) * 8)
    #expect(throws: ControlProtocolError.tooManyElements) { try Message.decode(type: 51, body: body.span) }
  }

  @Test("every cut of every message is an error or waits for more", arguments: MessageSamples.golden)
  func truncation(_ golden: MessageSamples.Golden) throws {
    let bytes = MessageSamples.bytes(golden.hex)
    for count in bytes.indices {
      // As a stream: incomplete. As a body cut short under a matching header: an error, or a shorter list.
      #expect(try MessageSamples.decodeAll(Array(bytes.prefix(count))).isEmpty)
      guard count >= FrameHeader.length else { continue }
      let body = Array(bytes[FrameHeader.length..<count])
      if let shorter = try? Message.decode(type: bytes[4], body: body.span) { #expect(shorter != golden.message) }
    }
  }

  @Test("mutated bytes never trap, and what decodes is encoded back to the same bytes")
  func mutation() {
    let seed: UInt64 = 0xbad_5eed
    var generator = SeededGenerator(seed: seed)
    var decodedSome = false
    var refusedSome = false
    for round in 0..<40_000 {
      var bytes = MessageSamples.encoded(generator.message(kind: round % SeededGenerator.messageKinds))
      if bytes.count > 300 { bytes.removeLast(bytes.count - 300) }
      for _ in 0...generator.pick(4) {
        bytes[generator.pick(bytes.count)] = UInt8(truncatingIfNeeded: generator.next())
      }
      let type = bytes[4]
      let body = Array(bytes.dropFirst(FrameHeader.length))
      do {
        let message = try Message.decode(type: type, body: body.span)
        decodedSome = true
        let again = MessageSamples.encoded(message)
        #expect(Array(again.dropFirst(FrameHeader.length)) == body, "seed \(seed), round \(round)")
      } catch {
        refusedSome = true
      }
      _ = try? MessageSamples.decodeAll(bytes)
    }
    #expect(decodedSome && refusedSome)
  }
}
