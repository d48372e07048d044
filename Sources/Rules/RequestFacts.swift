// SPDX-License-Identifier: Apache-2.0

public import HTTPHead
public import Wire

/// Where a request head has what rules look at. Ranges are offsets into the bytes of the head.
public struct RequestFacts: Hashable, Sendable {
  public var method: Range<Int>
  /// Path and query.
  public var target: Range<Int>
  /// Host with an optional port; nil when an HTTP/1.0 request names none.
  public var host: Range<Int>?
  /// The field lines, each ended by CR LF.
  public var fields: Range<Int>
  public var client: IPAddress

  public init(method: Range<Int>, target: Range<Int>, host: Range<Int>?, fields: Range<Int>, client: IPAddress) {
    self.method = method
    self.target = target
    self.host = host
    self.fields = fields
    self.client = client
  }

  /// - Parameter bytes: those that the scanner was given.
  public init(_ head: RequestHead, in bytes: Span<UInt8>, client: IPAddress) {
    var start = head.targetRange.upperBound
    while start < head.length, bytes[start] != 0x0a { start += 1 }
    // The last two bytes are the empty line.
    self.init(
      method: head.methodRange, target: head.routingTarget, host: head.host,
      fields: min(start + 1, head.length - 2)..<head.length - 2, client: client)
  }

  /// The host without port and final dot.
  func hostName(_ bytes: Span<UInt8>) -> Range<Int>? {
    guard let host else { return nil }
    var end = host.upperBound
    // A colon inside brackets belongs to an IPv6 address.
    var index = end
    while index > host.lowerBound, bytes[index - 1] &- 0x30 < 10 { index -= 1 }
    if index > host.lowerBound, bytes[index - 1] == 0x3a { end = index - 1 }
    if end > host.lowerBound, bytes[end - 1] == 0x2e { end -= 1 }
    return host.lowerBound..<end
  }

  /// The value of the first Cookie field; user agents send no more than one (RFC 6265 section 5.4).
  func cookieField(_ bytes: Span<UInt8>) -> Range<Int>? {
    var start = fields.lowerBound
    while start < fields.upperBound {
      var end = start
      while end < fields.upperBound, bytes[end] != 0x0d { end += 1 }
      if end - start > 7, bytes[start + 6] == 0x3a, bytes.isCookie(start..<start + 6) {
        return bytes.trimmed(start + 7..<end)
      }
      start = end + 2
    }
    return nil
  }
}

extension Span where Element == UInt8 {
  /// The value of the cookie `name` in a Cookie field (RFC 6265 section 4.2.1); of several the first.
  func cookie(_ name: Span<UInt8>, in field: Range<Int>) -> Range<Int>? {
    var start = field.lowerBound
    while start < field.upperBound {
      var end = start
      while end < field.upperBound, self[end] != 0x3b { end += 1 }
      let pair = trimmed(start..<end)
      if pair.count > name.count, self[pair.lowerBound + name.count] == 0x3d, hasPrefix(name, in: pair) {
        return pair.lowerBound + name.count + 1..<pair.upperBound
      }
      start = end + 1
    }
    return nil
  }

  func hasPrefix(_ prefix: Span<UInt8>, in range: Range<Int>) -> Bool {
    guard range.count >= prefix.count else { return false }
    for index in prefix.indices where self[range.lowerBound + index] != prefix[index] { return false }
    return true
  }

  func isEqual(_ range: Range<Int>, _ other: Span<UInt8>) -> Bool {
    range.count == other.count && hasPrefix(other, in: range)
  }

  /// `text` is in lower case.
  func isEqualIgnoringCase(_ range: Range<Int>, _ text: Span<UInt8>) -> Bool {
    guard range.count == text.count else { return false }
    for index in text.indices where self[range.lowerBound + index].lowercased != text[index] { return false }
    return true
  }

  /// The name of the Cookie field in any case.
  fileprivate func isCookie(_ range: Range<Int>) -> Bool {
    let name: InlineArray<6, UInt8> = [0x63, 0x6f, 0x6f, 0x6b, 0x69, 0x65]
    return isEqualIgnoringCase(range, name.span)
  }

  func trimmed(_ range: Range<Int>) -> Range<Int> {
    var start = range.lowerBound
    var end = range.upperBound
    while start < end, self[start] == 0x20 || self[start] == 0x09 { start += 1 }
    while end > start, self[end - 1] == 0x20 || self[end - 1] == 0x09 { end -= 1 }
    return start..<end
  }
}

extension UInt8 {
  @inline(__always)
  var lowercased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }
}
