// SPDX-License-Identifier: Apache-2.0

import HTTPHead
import Testing

/// A named input; the name is what a failing test prints.
struct Sample: Sendable, CustomTestStringConvertible {
  var name: String
  var bytes: [UInt8]

  init(_ name: String, _ text: String) {
    self.name = name
    bytes = Array(text.utf8)
  }

  init(_ name: String, bytes: [UInt8]) {
    self.name = name
    self.bytes = bytes
  }

  var testDescription: String { name }
}

func scan(_ bytes: [UInt8], _ limits: RequestHeadLimits = RequestHeadLimits()) -> RequestHeadResult {
  var scanner = RequestHeadScanner(limits: limits)
  return scanner.scan(bytes.span)
}

/// Scans `bytes` in segments that end at `ends`, and stops at the first answer as the distributor does.
func scan(_ bytes: [UInt8], endingAt ends: [Int], _ limits: RequestHeadLimits = .init()) -> RequestHeadResult {
  var scanner = RequestHeadScanner(limits: limits)
  for end in ends {
    let result = scanner.scan(bytes.span.extracting(0..<end))
    if result != .incomplete { return result }
  }
  return .incomplete
}

func text(_ bytes: [UInt8], _ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

extension RequestHeadResult {
  var head: RequestHead? {
    if case .complete(let head) = self { return head }
    return nil
  }

  var error: RequestHeadError? {
    if case .invalid(let error) = self { return error }
    return nil
  }
}

/// SplitMix64: the same sequence on every machine.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
}
