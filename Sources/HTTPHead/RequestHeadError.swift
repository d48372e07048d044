// SPDX-License-Identifier: Apache-2.0

/// Why bytes are not a request head that this cluster passes on. Each case has a counter of its own at the distributor.
/// `docs/design/request-head.md` says why each is refused.
public enum RequestHeadError: UInt8, Error, Hashable, Sendable, BitwiseCopyable, CaseIterable {
  // MARK: Request line

  /// The first byte is that of a TLS record: a TLS client on a plain HTTP port.
  case tlsRecord
  /// More empty lines before the request line than `RequestHeadLimits.maximumLeadingEmptyLines`.
  case tooManyEmptyLines
  /// A byte in the method that no token has (RFC 9110 section 5.6.2), or no method at all.
  case invalidMethod
  /// The method is longer than `RequestHeadLimits.maximumMethodLength` (RFC 9112 section 3).
  case methodTooLong
  /// An empty target, a byte that no target has, or a form that does not fit the method (RFC 9112 section 3.2).
  case invalidTarget
  /// The target is longer than `RequestHeadLimits.maximumTargetLength` (RFC 9112 section 3).
  case targetTooLong
  /// The request line ends after the target: HTTP/0.9.
  case missingVersion
  /// What follows the target is not `HTTP/` digit `.` digit (RFC 9112 section 2.3).
  case malformedVersion
  /// A major version other than 1; also the HTTP/2 connection preface (RFC 9113 section 3.4).
  case unsupportedVersion

  // MARK: Line structure

  /// A carriage return that no line feed follows (RFC 9112 section 2.2).
  case bareCarriageReturn
  /// A line feed without a carriage return before it. RFC 9112 section 2.2 lets a recipient take it; servers disagree.
  case bareLineFeed
  /// The head has not ended within `RequestHeadLimits.maximumHeadLength`.
  case headTooLong
  /// More field lines than `RequestHeadLimits.maximumFieldCount`.
  case tooManyFields

  // MARK: Field lines

  /// An empty field name, or a byte in it that no token has (RFC 9110 section 5.1).
  case invalidFieldName
  /// White space between field name and colon (RFC 9112 section 5.1).
  case whitespaceBeforeColon
  /// A line that starts with white space (RFC 9112 sections 2.2 and 5.2).
  case lineFolding
  /// A control character in a field value, NUL included (RFC 9110 section 5.5).
  case invalidFieldValue

  // MARK: Host

  /// HTTP/1.1 without Host (RFC 9112 section 3.2).
  case missingHost
  /// A second Host field (RFC 9112 section 3.2).
  case repeatedHost
  /// Host, or the authority of the target, is not a host with an optional port (RFC 9110 section 7.2).
  case invalidHost
  /// Host names another authority than the target does: servers disagree which one counts.
  case mismatchedHost

  // MARK: Body framing

  /// Content-Length is not a decimal number below 2^64 (RFC 9112 section 6.3, rule 5).
  case invalidContentLength
  /// A second Content-Length or a list of them, even of equal values (RFC 9110 section 8.6 allows to refuse these).
  case repeatedContentLength
  /// Both Content-Length and Transfer-Encoding (RFC 9112 section 6.3, rule 3).
  case contentLengthWithTransferEncoding
  /// Transfer-Encoding in HTTP/1.0, which does not have it (RFC 9112 section 6.1).
  case transferEncodingInHTTP10
  /// Transfer-Encoding is anything but one `chunked` (RFC 9112 section 6.1).
  case unsupportedTransferCoding

  /// The status code of the answer to the client.
  public var status: UInt16 {
    switch self {
    case .targetTooLong: 414
    case .headTooLong, .tooManyFields: 431
    case .methodTooLong, .unsupportedTransferCoding: 501
    case .unsupportedVersion: 505
    case .tlsRecord, .tooManyEmptyLines, .invalidMethod, .invalidTarget, .missingVersion, .malformedVersion,
      .bareCarriageReturn, .bareLineFeed, .invalidFieldName, .whitespaceBeforeColon, .lineFolding, .invalidFieldValue,
      .missingHost, .repeatedHost, .invalidHost, .mismatchedHost, .invalidContentLength, .repeatedContentLength,
      .contentLengthWithTransferEncoding, .transferEncodingInHTTP10:
      400
    }
  }
}
