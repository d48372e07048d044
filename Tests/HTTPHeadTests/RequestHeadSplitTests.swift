// SPDX-License-Identifier: Apache-2.0

import HTTPHead
import Testing

@Suite struct RequestHeadSplitTests {
  static let samples = GoodHead.all + BrokenHeads.all

  @Test(arguments: samples)
  func `the answer is the same wherever the bytes are split`(sample: Sample) {
    let whole = scan(sample.bytes)
    for split in stride(from: 0, through: sample.bytes.count, by: max(1, sample.bytes.count / 997)) {
      let parts = scan(sample.bytes, endingAt: [split, sample.bytes.count])
      #expect(parts == whole, "split at \(split)")
    }
  }

  @Test(arguments: samples)
  func `the answer is the same when bytes come one by one, and none is looked at twice`(sample: Sample) {
    var scanner = RequestHeadScanner()
    var result = RequestHeadResult.incomplete
    for end in 0...sample.bytes.count {
      result = scanner.scan(sample.bytes.span.extracting(0..<end))
      guard result == .incomplete else { break }
      #expect(scanner.scannedCount == end)
    }
    #expect(result == scan(sample.bytes))
  }

  @Test(arguments: GoodHead.all)
  func `a complete head stays complete when more bytes come`(sample: Sample) {
    var scanner = RequestHeadScanner()
    let result = scanner.scan(sample.bytes.span)
    #expect(result.head != nil)
    #expect(scanner.scan((sample.bytes + [0, 1, 2]).span) == result)
  }

  @Test(arguments: GoodHead.all)
  func `a good head is incomplete at every byte before its last`(sample: Sample) {
    for end in 0..<sample.bytes.count { #expect(scan(Array(sample.bytes.prefix(end))) == .incomplete, "\(end) bytes") }
  }

  @Test(arguments: [1, 2, 3, 4] as [UInt64])
  func `mutated heads never trap and obey the split law`(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    for round in 0..<5000 {
      var bytes = Self.samples.randomElement(using: &random)!.bytes
      if bytes.count > 600 { bytes.removeSubrange(300..<bytes.count - 300) }
      Mutation.apply(to: &bytes, times: Int.random(in: 1...4, using: &random), using: &random)
      let ends = (0..<3).map { _ in Int.random(in: 0...bytes.count, using: &random) }.sorted() + [bytes.count]
      let whole = scan(bytes)
      #expect(scan(bytes, endingAt: ends) == whole, "seed \(seed), round \(round), split at \(ends): \(bytes)")
      guard let head = whole.head else { continue }
      #expect(head.length <= bytes.count)
      #expect(!head.routingTarget.isEmpty, "seed \(seed), round \(round)")
      #expect(head.targetRange.lowerBound <= head.routingTarget.lowerBound)
      #expect(head.targetRange.upperBound >= head.routingTarget.upperBound)
    }
  }

  @Test(arguments: [5, 6] as [UInt64])
  func `random bytes never trap`(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    for round in 0..<5000 {
      let bytes = (0..<Int.random(in: 0...64, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      let split = Int.random(in: 0...bytes.count, using: &random)
      #expect(scan(bytes, endingAt: [split, bytes.count]) == scan(bytes), "seed \(seed), round \(round): \(bytes)")
    }
  }
}

/// Small changes that keep most of a head's structure.
enum Mutation {
  static let fragments: [[UInt8]] = [
    "\r\n", "\n", "\r", "\0", " ", "\t", ":", ",", "\r\n\r\n", "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Host: a\r\n", "HTTP/1.1", "\u{b}", "\u{1}", "\u{7f}", "#", "@", "[", "]", "//",
  ].map { Array($0.utf8) }

  static func apply(to bytes: inout [UInt8], times: Int, using random: inout SeededGenerator) {
    for _ in 0..<times {
      let index = Int.random(in: 0...bytes.count, using: &random)
      switch Int.random(in: 0..<5, using: &random) {
      case 0 where index < bytes.count: bytes[index] = UInt8.random(in: 0...255, using: &random)
      case 1 where index < bytes.count: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 2 where index < bytes.count: bytes.remove(at: index)
      case 3:
        let end = min(bytes.count, index + Int.random(in: 0...12, using: &random))
        bytes.insert(contentsOf: bytes[index..<end], at: index)
      default: bytes.insert(contentsOf: fragments.randomElement(using: &random)!, at: index)
      }
    }
  }
}
