// SPDX-License-Identifier: Apache-2.0

/// What field lines said; judged when the head is complete.
struct FieldFacts: BitwiseCopyable {
  var hasHostField = false
  var hostField = ByteRange()
  var contentLength: UInt64?
  var isChunked = false
  /// `close`, `keep-alive` and `upgrade` in Connection.
  var close = false
  var keepAlive = false
  var connectionUpgrade = false
  var hasUpgrade = false
  var expectsContinue = false
}

extension RequestHeadScanner.Field {
  init(named bytes: Span<UInt8>, _ range: Range<Int>) {
    self = .other
    switch range.count {
    case 4: if bytes.matches(range, lowercase: "host") { self = .host }
    case 6: if bytes.matches(range, lowercase: "expect") { self = .expect }
    case 7: if bytes.matches(range, lowercase: "upgrade") { self = .upgrade }
    case 10: if bytes.matches(range, lowercase: "connection") { self = .connection }
    case 14: if bytes.matches(range, lowercase: "content-length") { self = .contentLength }
    case 17: if bytes.matches(range, lowercase: "transfer-encoding") { self = .transferEncoding }
    default: break
    }
  }
}

extension RequestHeadScanner {
  /// Reads one field line; `value` is without the white space around it.
  mutating func finishField(_ bytes: Span<UInt8>, _ value: Range<Int>) throws(RequestHeadError) {
    switch field {
    case .host:
      guard !facts.hasHostField else { throw .repeatedHost }
      guard bytes.isHost(value) else { throw .invalidHost }
      facts.hasHostField = true
      facts.hostField = ByteRange(value)
    case .contentLength:
      guard facts.contentLength == nil else { throw .repeatedContentLength }
      facts.contentLength = try bytes.contentLength(value)
    case .transferEncoding:
      // HTTP/1.0 proxies pass the field on without knowing it, so the body might end elsewhere.
      guard head.version.minor > 0 else { throw .transferEncodingInHTTP10 }
      // A second line is a second coding, whatever it says: `chunked` twice is an error, all else is unknown here.
      guard !facts.isChunked, bytes.matches(value, lowercase: "chunked") else { throw .unsupportedTransferCoding }
      facts.isChunked = true
    case .connection, .expect: options(bytes, value)
    case .upgrade: facts.hasUpgrade = facts.hasUpgrade || !value.isEmpty
    case .other: break
    }
  }

  /// Reads a comma-separated list (RFC 9110 section 5.6.1), in which empty elements mean nothing.
  private mutating func options(_ bytes: Span<UInt8>, _ value: Range<Int>) {
    var start = value.lowerBound
    while start < value.upperBound {
      var end = start
      while end < value.upperBound, bytes[end] != 0x2c { end += 1 }
      option(bytes, bytes.trimming(start..<end))
      start = end + 1
    }
  }

  private mutating func option(_ bytes: Span<UInt8>, _ option: Range<Int>) {
    if field == .expect {
      if bytes.matches(option, lowercase: "100-continue") { facts.expectsContinue = true }
    } else if bytes.matches(option, lowercase: "close") {
      facts.close = true
    } else if bytes.matches(option, lowercase: "keep-alive") {
      facts.keepAlive = true
    } else if bytes.matches(option, lowercase: "upgrade") {
      facts.connectionUpgrade = true
    }
  }

  /// Judges what only the whole head decides.
  mutating func finishHead(_ bytes: Span<UInt8>) throws(RequestHeadError) {
    let isHTTP10 = head.version.minor == 0
    switch (facts.contentLength, facts.isChunked) {
    case (nil, false): head.body = .none
    case (let length?, false): head.body = .contentLength(length)
    case (nil, true): head.body = .chunked
    case (.some, true): throw .contentLengthWithTransferEncoding
    }
    guard isHTTP10 || facts.hasHostField else { throw .missingHost }
    try finishHost(bytes)
    head.expectsContinue = facts.expectsContinue && !isHTTP10
    head.upgrade = facts.hasUpgrade && facts.connectionUpgrade && !isHTTP10
    head.keepAlive = !facts.close && (!isHTTP10 || facts.keepAlive)
    head.length = position
  }
}

extension Span where Element == UInt8 {
  /// A decimal number below 2^64.
  func contentLength(_ range: Range<Int>) throws(RequestHeadError) -> UInt64 {
    guard !range.isEmpty else { throw .invalidContentLength }
    var length: UInt64 = 0
    for index in range {
      let byte = self[index]
      guard byte.isDigit else { throw byte == 0x2c ? .repeatedContentLength : .invalidContentLength }
      let (product, overflow) = length.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(UInt64(byte &- 0x30))
      guard !overflow, !carry else { throw .invalidContentLength }
      length = sum
    }
    return length
  }
}
