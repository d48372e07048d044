// SPDX-License-Identifier: Apache-2.0

import Testing
import Wire

@Suite struct TCPSegmentLawTests {
  @Test(arguments: [true, false])
  func `parsing what was emitted gives the segment back`(isIPv4: Bool) {
    let seed: UInt64 = isIPv4 ? 4 : 6
    var random = SeededGenerator(seed: seed)
    for choice in 0..<16 {
      for count in [0, 1, 2, 3, 4, 7, 8, 9, 535, 536, 1459, 1460, 65535 - 80] {
        let segment = random.segment(isIPv4: isIPv4, options: choice)
        let payload = random.bytes(count)
        let bytes = packet(segment, payload)
        let start = segment.headerLength
        let context: Comment = "seed \(seed), options \(choice), \(count) bytes: \(segment)"
        let result = parse(bytes)
        #expect(result == .success(ParsedSegment(segment: segment, payload: start..<start + count)), context)
        #expect(Array(bytes[start...]) == payload, context)
        #expect(start == (isIPv4 ? 40 : 60) + segment.options.encodedLength, context)
      }
    }
  }

  @Test(arguments: [true, false])
  func `bytes behind the packet are ignored`(isIPv4: Bool) throws {
    var random = SeededGenerator(seed: 7)
    let segment = random.segment(isIPv4: isIPv4, options: 8)
    let bytes = packet(segment, [1, 2, 3])
    #expect(parse(bytes + [9, 9, 9]) == parse(bytes))
  }

  @Test func `emit touches nothing behind the packet`() {
    var random = SeededGenerator(seed: 8)
    let segment = random.segment(isIPv4: true, options: 15)
    var bytes = [UInt8](repeating: 0xee, count: 200)
    var span = bytes.mutableSpan
    let written = segment.emit(payload: [1, 2, 3].span, into: &span)
    #expect(written == segment.headerLength + 3)
    #expect(bytes[written...].allSatisfy { $0 == 0xee })
  }

  @Test(arguments: [true, false])
  func `every flipped bit of a packet is noticed or ignored by rule`(isIPv4: Bool) {
    var random = SeededGenerator(seed: 9)
    let segment = random.segment(isIPv4: isIPv4, options: 15)
    let bytes = packet(segment, random.bytes(5))
    let whole = parse(bytes)
    for bit in 0..<bytes.count * 8 {
      var flipped = bytes
      flipped[bit / 8] ^= 0x80 >> UInt8(bit % 8)
      // The traffic class, flow label and hop limit of IPv6 are covered by no checksum and mean nothing here.
      let isUncovered = !isIPv4 && ((4..<32).contains(bit) || (56..<64).contains(bit))
      #expect((parse(flipped) == whole) == isUncovered, "bit \(bit)")
    }
  }

  @Test(arguments: [11, 12] as [UInt64])
  func `truncated, mutated and random packets never trap`(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    var accepted = 0
    for round in 0..<4000 {
      let segment = random.segment(isIPv4: random.chance(50), options: Int.random(in: 0..<16, using: &random))
      var bytes = packet(segment, random.bytes(Int.random(in: 0..<20, using: &random)))
      switch round % 3 {
      case 0: bytes.removeLast(Int.random(in: 0...bytes.count, using: &random))
      case 1:
        for _ in 0..<Int.random(in: 1...4, using: &random) {
          bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
        }
      default:
        bytes = random.bytes(Int.random(in: 0..<120, using: &random))
        if !bytes.isEmpty { bytes[0] = random.chance(50) ? 0x45 : 0x60 }
      }
      // Without checksums more of the parser is reached.
      for verifies in [true, false] {
        guard case .success(let parsed) = parse(bytes, verifyingChecksums: verifies) else { continue }
        accepted += 1
        #expect(parsed.payload.upperBound <= bytes.count, "seed \(seed), round \(round): \(hex(bytes))")
        // What was taken can be emitted, and is the same again.
        let again = packet(parsed.segment, Array(bytes[parsed.payload]))
        let length = parsed.segment.headerLength
        #expect(
          parse(again) == .success(ParsedSegment(segment: parsed.segment, payload: length..<again.count)),
          "seed \(seed), round \(round): \(hex(bytes))")
      }
    }
    #expect(accepted > 500, "\(accepted) packets taken: the mutations destroy too much to test anything")
  }
}

@Suite struct TCPOptionsTests {
  static func parse(_ bytes: [UInt8]) -> TCPOptions? {
    do throws(WireError) { return try TCPOptions.parse(bytes.span) } catch { return nil }
  }

  static let cases: [(String, [UInt8], TCPOptions?)] = [
    ("none", [], TCPOptions()),
    ("padding", [1, 1, 1, 1], TCPOptions()),
    ("end of list hides the rest", [0, 2, 99, 0], TCPOptions()),
    ("MSS", [2, 4, 0x05, 0xb4], TCPOptions(maximumSegmentSize: 1460)),
    ("MSS of zero", [2, 4, 0, 0], TCPOptions(maximumSegmentSize: 0)),
    ("window scale", [3, 3, 7], TCPOptions(windowScale: 7)),
    ("window scale above 14 counts as 14", [3, 3, 255], TCPOptions(windowScale: 14)),
    ("SACK permitted", [4, 2], TCPOptions(sackPermitted: true)),
    ("timestamps", [8, 10, 0, 0, 0, 1, 0, 0, 0, 2], TCPOptions(timestamps: TCPTimestamps(value: 1, echo: 2))),
    ("SACK blocks are skipped", [5, 10, 1, 2, 3, 4, 5, 6, 7, 8, 4, 2], TCPOptions(sackPermitted: true)),
    ("unknown options are skipped", [254, 4, 1, 2, 30, 2, 3, 3, 1], TCPOptions(windowScale: 1)),
    ("of a repeated option the last counts", [3, 3, 1, 3, 3, 2], TCPOptions(windowScale: 2)),
    ("no length", [2], nil),
    ("length zero", [254, 0, 0, 0], nil),
    ("length one", [254, 1, 0, 0], nil),
    ("length past the end", [254, 5, 0, 0], nil),
    ("MSS too short", [2, 3, 0], nil),
    ("MSS too long", [2, 5, 0, 0, 0], nil),
    ("window scale too long", [3, 4, 0, 0], nil),
    ("SACK permitted too long", [4, 3, 0], nil),
    ("timestamps too short", [8, 9, 0, 0, 0, 0, 0, 0, 0], nil),
  ]

  @Test(arguments: cases)
  func `options are read by the rules of their RFCs`(name: String, bytes: [UInt8], expected: TCPOptions?) {
    #expect(Self.parse(bytes) == expected)
  }

  @Test func `every byte string of three gives an answer`() {
    for value in 0..<(1 << 16) {
      _ = Self.parse([UInt8(value >> 8), UInt8(value & 255), 2])
    }
  }
}
