// SPDX-License-Identifier: Apache-2.0

/// A complete request head (RFC 9112 section 3). Holds no bytes: every range is an offset range into the bytes that the
/// scanner was given, so they stay valid as long as the caller keeps the start of its buffer.
public struct RequestHead: Hashable, Sendable, BitwiseCopyable {
  var methodBytes = ByteRange()
  var targetBytes = ByteRange()
  var routingBytes = ByteRange()
  var hostBytes = ByteRange()

  /// The request method (RFC 9110 section 9); `.other` for methods without a case of their own.
  public internal(set) var method = RequestMethod.other
  /// How the target is written (RFC 9112 section 3.2).
  public internal(set) var targetForm = TargetForm.origin
  public internal(set) var version = HTTPVersion(major: 1, minor: 1)
  /// Bytes up to and including the empty line that ends the head; leading empty lines count. The body starts here.
  public internal(set) var length = 0
  /// Field lines in the head.
  public internal(set) var fieldCount = 0
  /// How the end of the request body is found (RFC 9112 section 6.3).
  public internal(set) var body = BodyFraming.none
  /// The client waits for 100 (Continue) before it sends the body; false in HTTP/1.0, where the field is to be ignored
  /// (RFC 9110 section 10.1.1).
  public internal(set) var expectsContinue = false
  /// The client offers another protocol: an `Upgrade` field, named in `Connection`, in HTTP/1.1 (RFC 9110 section 7.8).
  public internal(set) var upgrade = false
  /// The client wants the connection kept after the response (RFC 9112 section 9.3).
  public internal(set) var keepAlive = true

  var hasHost = false

  init() {}

  /// Where the method's token is.
  public var methodRange: Range<Int> { methodBytes.range }

  /// Where the request target is, as the client wrote it.
  public var targetRange: Range<Int> { targetBytes.range }

  /// The bytes that placement hashes: path and query without scheme and authority (RFC 9112 section 3.2.2), so that
  /// `GET /a` and `GET http://example.org/a` are one target; `*` and the authority of CONNECT as they are. Never empty.
  ///
  /// An absolute-form target without a path gives the `/` that it means. One with a query but no path
  /// (`http://example.org?q`) gives `?q` without the slash that it also means: a range cannot hold a byte that is not there.
  public var routingTarget: Range<Int> { routingBytes.range }

  /// The host and port that the request is for: the authority of an absolute-form or CONNECT target, else the value of
  /// the `Host` field, which may be empty. Nil when an HTTP/1.0 request names none.
  public var host: Range<Int>? { hasHost ? hostBytes.range : nil }
}

/// The method, where something depends on it (a response to HEAD has no body, CONNECT and OPTIONS have targets of their
/// own) or an access log names it.
public enum RequestMethod: UInt8, Hashable, Sendable, BitwiseCopyable, CaseIterable {
  case get, head, post, put, delete, connect, options, trace, patch
  /// Any other token; methods are an open set.
  case other
}

/// The four forms of RFC 9112 section 3.2.
public enum TargetForm: UInt8, Hashable, Sendable, BitwiseCopyable, CaseIterable {
  /// `/path?query`
  case origin
  /// `http://host/path?query`
  case absolute
  /// `host:port`, with CONNECT only.
  case authority
  /// `*`, with OPTIONS only.
  case asterisk
}

public struct HTTPVersion: Hashable, Sendable, BitwiseCopyable {
  public var major: UInt8
  public var minor: UInt8

  public init(major: UInt8, minor: UInt8) {
    self.major = major
    self.minor = minor
  }
}

/// How the end of a request body is found (RFC 9112 section 6.3).
public enum BodyFraming: Hashable, Sendable, BitwiseCopyable {
  /// Neither Content-Length nor Transfer-Encoding: the request ends with its head.
  case none
  /// Bytes of body after the head.
  case contentLength(UInt64)
  /// The chunked transfer coding.
  case chunked
}

/// `Range<Int>` is not `BitwiseCopyable`; a head never reaches 4 GB.
struct ByteRange: Hashable, Sendable, BitwiseCopyable {
  var start: UInt32 = 0
  var end: UInt32 = 0

  init() {}

  init(_ range: Range<Int>) {
    start = UInt32(truncatingIfNeeded: range.lowerBound)
    end = UInt32(truncatingIfNeeded: range.upperBound)
  }

  var range: Range<Int> { Int(start)..<Int(end) }
}
