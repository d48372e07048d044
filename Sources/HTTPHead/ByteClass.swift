// SPDX-License-Identifier: Apache-2.0

/// Character classes as bit sets: a table would be a lazily initialised global.
extension UInt8 {
  /// A byte of a token (RFC 9110 section 5.6.2): `!#$%&'*+-.^_`|~`, digits and letters.
  @inline(always)
  var isTokenByte: Bool { isMember(of: 0x03ff_6cfa_0000_0000, 0x57ff_ffff_c7ff_fffe) }

  /// A byte of a registered name or port (RFC 3986 section 3.2.2): unreserved, sub-delims, `%`, `:`.
  @inline(always)
  var isHostByte: Bool { isMember(of: 0x2fff_7ff2_0000_0000, 0x47ff_fffe_87ff_fffe) }

  /// Anything but control characters, the space, and `#`, which starts a fragment and no form of target has one. What RFC
  /// 3986 wants percent-encoded but clients send (`|`, `^`, `"`, `{`, UTF-8) passes: it ends nothing, and servers take it.
  @inline(always)
  var isTargetByte: Bool { self > 0x20 && self != 0x7f && self != 0x23 }

  /// HTAB, SP, visible ASCII or obs-text (RFC 9110 section 5.5).
  @inline(always)
  var isFieldValueByte: Bool { self >= 0x20 && self != 0x7f || self == 0x09 }

  @inline(always)
  var isDigit: Bool { self &- 0x30 < 10 }

  @inline(always)
  var isLetter: Bool { (self | 0x20) &- 0x61 < 26 }

  @inline(always)
  var isWhitespace: Bool { self == 0x20 || self == 0x09 }

  @inline(always)
  var lowercased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }

  @inline(always)
  private func isMember(of low: UInt64, _ high: UInt64) -> Bool {
    self < 128 && (self < 64 ? low : high) >> UInt64(self & 63) & 1 != 0
  }
}

extension Span where Element == UInt8 {
  /// Whether the bytes in `range` are `text`, which is lower case, in any case.
  func matches(_ range: Range<Int>, lowercase text: String) -> Bool {
    let expected = text.utf8.span
    guard range.count == expected.count else { return false }
    for index in expected.indices where self[range.lowerBound + index].lowercased != expected[index] { return false }
    return true
  }

  func matches(_ range: Range<Int>, exactly text: String) -> Bool {
    let expected = text.utf8.span
    guard range.count == expected.count else { return false }
    for index in expected.indices where self[range.lowerBound + index] != expected[index] { return false }
    return true
  }

  /// `range` without white space at its ends.
  func trimming(_ range: Range<Int>) -> Range<Int> {
    var start = range.lowerBound
    var end = range.upperBound
    while start < end, self[start].isWhitespace { start += 1 }
    while start < end, self[end - 1].isWhitespace { end -= 1 }
    return start..<end
  }
}
