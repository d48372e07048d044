// SPDX-License-Identifier: Apache-2.0

extension RequestHeadScanner {
  /// Names the method and takes the target apart (RFC 9112 section 3.2). After the version, so that the HTTP/2 preface
  /// `PRI * HTTP/2.0` is a matter of version, not of target.
  mutating func finishRequestLine(_ bytes: Span<UInt8>) throws(RequestHeadError) {
    let target = head.targetRange
    head.method = RequestMethod(named: bytes, head.methodRange)
    head.routingBytes = head.targetBytes
    guard head.method != .connect else {
      head.targetForm = .authority
      guard bytes.isHost(target), bytes.portStart(target) < target.upperBound else { throw .invalidTarget }
      head.hostBytes = head.targetBytes
      head.hasHost = true
      return
    }
    switch bytes[target.lowerBound] {
    case 0x2f: head.targetForm = .origin
    case 0x2a:
      guard head.method == .options, target.count == 1 else { throw .invalidTarget }
      head.targetForm = .asterisk
    default: try absoluteTarget(bytes, target)
    }
  }

  private mutating func absoluteTarget(_ bytes: Span<UInt8>, _ target: Range<Int>) throws(RequestHeadError) {
    head.targetForm = .absolute
    // RFC 3986 section 3.1: a letter, then letters, digits, "+", "-", ".".
    guard bytes[target.lowerBound].isLetter else { throw .invalidTarget }
    var index = target.lowerBound
    while index < target.upperBound, bytes[index].isSchemeByte { index += 1 }
    guard target.upperBound - index >= 3, bytes.matches(index..<index + 3, exactly: "://") else { throw .invalidTarget }
    let authorityStart = index + 3
    index = authorityStart
    while index < target.upperBound, bytes[index] != 0x2f, bytes[index] != 0x3f { index += 1 }
    // User information (RFC 9110 section 4.2.4) has an "@", which no host has.
    guard index > authorityStart, bytes.isHost(authorityStart..<index) else { throw .invalidHost }
    head.hostBytes = ByteRange(authorityStart..<index)
    head.hasHost = true
    // Without a path the target means "/": the last slash before the authority stands for it.
    head.routingBytes =
      index < target.upperBound
      ? ByteRange(index..<target.upperBound) : ByteRange(authorityStart - 1..<authorityStart)
  }

  /// Host and authority have to agree: the bytes go to the web server as they are, so it must not matter which of the
  /// two it believes.
  mutating func finishHost(_ bytes: Span<UInt8>) throws(RequestHeadError) {
    guard facts.hasHostField else { return }
    guard head.hasHost else {
      head.hostBytes = facts.hostField
      head.hasHost = true
      return
    }
    let target = head.targetRange
    // CONNECT names its port; its Host field may leave out only that of the scheme that it is mostly used for.
    let isHTTPS =
      head.targetForm == .authority || bytes.matches(target.lowerBound..<target.lowerBound + 6, lowercase: "https:")
    let defaultPort = isHTTPS ? "443" : "80"
    let authority = bytes.withoutPort(head.hostBytes.range, defaultPort)
    let host = bytes.withoutPort(facts.hostField.range, defaultPort)
    guard bytes.areEqualIgnoringCase(authority, host) else { throw .mismatchedHost }
  }
}

extension RequestMethod {
  /// Methods are case-sensitive (RFC 9110 section 9.1).
  init(named bytes: Span<UInt8>, _ range: Range<Int>) {
    self = .other
    switch range.count {
    case 3:
      if bytes.matches(range, exactly: "GET") {
        self = .get
      } else if bytes.matches(range, exactly: "PUT") {
        self = .put
      }
    case 4:
      if bytes.matches(range, exactly: "HEAD") {
        self = .head
      } else if bytes.matches(range, exactly: "POST") {
        self = .post
      }
    case 5:
      if bytes.matches(range, exactly: "TRACE") {
        self = .trace
      } else if bytes.matches(range, exactly: "PATCH") {
        self = .patch
      }
    case 6: if bytes.matches(range, exactly: "DELETE") { self = .delete }
    case 7:
      if bytes.matches(range, exactly: "CONNECT") {
        self = .connect
      } else if bytes.matches(range, exactly: "OPTIONS") {
        self = .options
      }
    default: break
    }
  }
}

extension UInt8 {
  @inline(always)
  fileprivate var isSchemeByte: Bool { isLetter || isDigit || self == 0x2b || self == 0x2d || self == 0x2e }
}

extension Span where Element == UInt8 {
  /// `uri-host [ ":" port ]` (RFC 9110 section 7.2), or nothing.
  func isHost(_ range: Range<Int>) -> Bool {
    var index = range.lowerBound
    if index < range.upperBound, self[index] == 0x5b {
      // RFC 3986 section 3.2.2: IPv6 addresses and later versions stand in brackets.
      index += 1
      let start = index
      while index < range.upperBound, self[index].isHostByte { index += 1 }
      guard index > start, index < range.upperBound, self[index] == 0x5d else { return false }
      index += 1
    } else {
      while index < range.upperBound, self[index].isHostByte, self[index] != 0x3a { index += 1 }
      // A port without a host is not an authority of HTTP (RFC 9110 section 4.2.1).
      guard index > range.lowerBound || range.isEmpty else { return false }
    }
    guard index < range.upperBound else { return true }
    guard self[index] == 0x3a else { return false }
    return range.upperBound - index <= 6 && (index + 1..<range.upperBound).allSatisfy { self[$0].isDigit }
  }

  /// Where the digits of the port are in a valid host; the end of `range` when there are none.
  func portStart(_ range: Range<Int>) -> Int {
    var index = range.upperBound
    while index > range.lowerBound, self[index - 1].isDigit { index -= 1 }
    return index > range.lowerBound && self[index - 1] == 0x3a ? index : range.upperBound
  }

  /// The host without its port, when the port is empty or the default one.
  fileprivate func withoutPort(_ range: Range<Int>, _ defaultPort: String) -> Range<Int> {
    let start = portStart(range)
    if start < range.upperBound {
      return matches(start..<range.upperBound, exactly: defaultPort) ? range.lowerBound..<start - 1 : range
    }
    let endsInColon = !range.isEmpty && self[range.upperBound - 1] == 0x3a
    return endsInColon ? range.lowerBound..<range.upperBound - 1 : range
  }

  fileprivate func areEqualIgnoringCase(_ left: Range<Int>, _ right: Range<Int>) -> Bool {
    guard left.count == right.count else { return false }
    for offset in 0..<left.count
    where self[left.lowerBound + offset].lowercased != self[right.lowerBound + offset].lowercased {
      return false
    }
    return true
  }
}
