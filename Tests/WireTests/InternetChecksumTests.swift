// SPDX-License-Identifier: Apache-2.0

import Testing
import Wire

@Suite struct InternetChecksumTests {
  /// RFC 1071 section 1 as it is written: one 16-bit word at a time, carry folded at each.
  static func naive(_ bytes: [UInt8]) -> UInt16 {
    var sum: UInt32 = 0
    for start in stride(from: 0, to: bytes.count, by: 2) {
      let low = start + 1 < bytes.count ? bytes[start + 1] : 0
      sum += UInt32(bytes[start]) << 8 | UInt32(low)
      if sum > 0xffff { sum -= 0xffff }
    }
    return UInt16(sum)
  }

  static func fast(_ bytes: [UInt8]) -> UInt16 { InternetChecksum.fold(InternetChecksum.sum(bytes.span)) }

  @Test func `the example of RFC 1071 section 3 holds`() {
    #expect(Self.fast([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]) == 0xddf2)
  }

  @Test func `every length up to 300 gives what the definition gives`() {
    var random = SeededGenerator(seed: 1071)
    for count in 0...300 {
      let bytes = random.bytes(count)
      #expect(Self.fast(bytes) == Self.naive(bytes), "seed 1071, \(count) bytes: \(hex(bytes))")
    }
  }

  @Test func `the longest packet of all ones does not overflow`() {
    let bytes = [UInt8](repeating: 0xff, count: 65535)
    #expect(Self.fast(bytes) == Self.naive(bytes))
    #expect(Self.fast([UInt8](repeating: 0, count: 65535)) == 0)
  }

  @Test func `a sum continues where another ended`() {
    var random = SeededGenerator(seed: 5)
    let bytes = random.bytes(100)
    for split in stride(from: 0, through: 100, by: 2) {
      let head = InternetChecksum.sum(bytes.span.extracting(0..<split))
      let whole = InternetChecksum.sum(bytes.span.extracting(split..<100), from: head)
      #expect(InternetChecksum.fold(whole) == Self.naive(bytes), "split at \(split)")
    }
  }

  @Test func `folding keeps the value modulo 65535 and never makes zero of more`() {
    for sum: UInt64 in [0, 1, 0xffff, 0x1_0000, 0x1_fffe, 0x1_ffff, 0xffff_ffff, 0xffff_ffff_ffff, .max] {
      let folded = InternetChecksum.fold(sum)
      #expect(UInt64(folded) % 0xffff == sum % 0xffff)
      #expect((folded == 0) == (sum == 0))
    }
  }

  @Test(arguments: [true, false])
  func `the pseudo header counts as RFC 9293 and RFC 8200 say`(isIPv4: Bool) {
    var random = SeededGenerator(seed: 6)
    let source = random.address(isIPv4: isIPv4)
    let destination = random.address(isIPv4: isIPv4)
    let segment = random.bytes(33)
    let pseudo: [UInt8] = networkBytes(source) + networkBytes(destination) + [0, 0, 0, 33, 0, 0, 0, 6]
    let sum = InternetChecksum.tcpSum(segment.span, source: source, destination: destination)
    #expect(InternetChecksum.fold(sum) == Self.naive(pseudo + segment))
  }
}
