// SPDX-License-Identifier: Apache-2.0

import HTTPHead
import Testing

/// One input per rule that a head can break.
enum BrokenHeads {
  static let cases: [(Sample, RequestHeadError)] = [
    // Request line
    (Sample("TLS ClientHello", bytes: [0x16, 0x03, 0x01, 0x02, 0x00, 0x01]), .tlsRecord),
    (Sample("empty lines without end", "\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), .tooManyEmptyLines),
    (Sample("binary garbage", bytes: [0x00, 0x01, 0x02, 0xff]), .invalidMethod),
    (Sample("SSLv2 hello", bytes: [0x80, 0x2e, 0x01, 0x00]), .invalidMethod),
    (Sample("space before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidMethod),
    (Sample("separator in the method", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidMethod),
    (Sample("method alone", "GET\r\n\r\n"), .invalidMethod),
    (Sample("tab after the method", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidMethod),
    (Sample("NUL in the method", "GE\0T / HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidMethod),
    (Sample("long method", String(repeating: "A", count: 65)), .methodTooLong),
    (Sample("two spaces before the target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidTarget),
    (Sample("NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidTarget),
    (Sample("tab after the target", "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n"), .invalidTarget),
    (Sample("fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidTarget),
    (Sample("DEL in the target", "GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidTarget),
    (Sample("UTF-8 before the slash", "GET é/ HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidTarget),
    (Sample("UTF-8 in the authority", "GET http://é/ HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidHost),
    (Sample("relative target", "GET a/b HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidTarget),
    (Sample("scheme without slashes", "GET mailto:a HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidTarget),
    (Sample("scheme that starts with a digit", "GET 1a://b/ HTTP/1.1\r\nHost: b\r\n\r\n"), .invalidTarget),
    (Sample("asterisk with GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidTarget),
    (Sample("asterisk and more", "OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidTarget),
    (Sample("authority with GET", "GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"), .invalidTarget),
    (Sample("path with CONNECT", "CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidTarget),
    (Sample("CONNECT without port", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidTarget),
    (Sample("CONNECT with an empty port", "CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidTarget),
    (Sample("long target", "GET /" + String(repeating: "a", count: 8192)), .targetTooLong),
    (Sample("HTTP/0.9", "GET /\r\n"), .missingVersion),
    (Sample("HTTP/0.9 with a bare line feed", "GET /\n"), .missingVersion),
    (Sample("space instead of a version", "GET / \r\n"), .missingVersion),
    (Sample("two spaces before the version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"), .malformedVersion),
    (Sample("lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n"), .malformedVersion),
    (Sample("version without minor", "GET / HTTP/1\r\nHost: a\r\n\r\n"), .malformedVersion),
    (Sample("version with two digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n"), .malformedVersion),
    (Sample("two-digit major version", "GET / HTTP/11.1\r\nHost: a\r\n\r\n"), .malformedVersion),
    (Sample("version that is not a number", "GET / HTTP/x.1\r\nHost: a\r\n\r\n"), .malformedVersion),
    (Sample("other protocol", "GET / ICY/1.1\r\nHost: a\r\n\r\n"), .malformedVersion),
    (Sample("space after the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), .malformedVersion),
    (Sample("a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"), .malformedVersion),
    (Sample("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), .unsupportedVersion),
    (Sample("HTTP/0.9 spelt out", "GET / HTTP/0.9\r\n\r\n"), .unsupportedVersion),
    (Sample("HTTP/3", "GET / HTTP/3.0\r\nHost: a\r\n\r\n"), .unsupportedVersion),

    // Line structure
    (Sample("bare CR in an empty line", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"), .bareCarriageReturn),
    (Sample("bare CR after the version", "GET / HTTP/1.1\rHost: a\r\n\r\n"), .bareCarriageReturn),
    (Sample("bare CR in a value", "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n"), .bareCarriageReturn),
    (Sample("bare CR instead of the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\rX"), .bareCarriageReturn),
    (Sample("two CR before LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"), .bareCarriageReturn),
    (Sample("bare LF first", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), .bareLineFeed),
    (Sample("bare LF after the version", "GET / HTTP/1.1\nHost: a\r\n\r\n"), .bareLineFeed),
    (Sample("bare LF after a value", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"), .bareLineFeed),
    (Sample("bare LF as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n"), .bareLineFeed),
    (
      Sample("endless head", "GET / HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "x", count: 16384)),
      .headTooLong
    ),
    (
      Sample("129 fields", "GET / HTTP/1.1\r\n" + String(repeating: "A: b\r\n", count: 129) + "\r\n"),
      .tooManyFields
    ),

    // Field lines
    (Sample("empty name", "GET / HTTP/1.1\r\n: a\r\n\r\n"), .invalidFieldName),
    (Sample("no colon", "GET / HTTP/1.1\r\nHost\r\n\r\n"), .invalidFieldName),
    (Sample("NUL in a name", "GET / HTTP/1.1\r\nHo\0st: a\r\n\r\n"), .invalidFieldName),
    (Sample("obs-text in a name", "GET / HTTP/1.1\r\né: a\r\n\r\n"), .invalidFieldName),
    (Sample("separator in a name", "GET / HTTP/1.1\r\nA(b): a\r\n\r\n"), .invalidFieldName),
    (Sample("space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"), .whitespaceBeforeColon),
    (Sample("tab before the colon", "GET / HTTP/1.1\r\nContent-Length\t: 5\r\n\r\n"), .whitespaceBeforeColon),
    (Sample("folded line", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"), .lineFolding),
    (Sample("space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"), .lineFolding),
    (Sample("tab before a field", "GET / HTTP/1.1\r\nHost: a\r\n\tX: y\r\n\r\n"), .lineFolding),
    (Sample("white space instead of the empty line", "GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n"), .lineFolding),
    (Sample("NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"), .invalidFieldValue),
    (
      Sample("vertical tab in a value", "GET / HTTP/1.1\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n"), .invalidFieldValue
    ),
    (Sample("DEL in a value", "GET / HTTP/1.1\r\nX: \u{7f}\r\n\r\n"), .invalidFieldValue),

    // Host
    (Sample("no Host", "GET / HTTP/1.1\r\n\r\n"), .missingHost),
    (Sample("no Host in HTTP/1.2", "GET / HTTP/1.2\r\n\r\n"), .missingHost),
    (Sample("no Host beside an absolute target", "GET http://a/ HTTP/1.1\r\n\r\n"), .missingHost),
    (Sample("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), .repeatedHost),
    (Sample("two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n"), .repeatedHost),
    (Sample("list of hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), .invalidHost),
    (Sample("path in Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), .invalidHost),
    (Sample("user in Host", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), .invalidHost),
    (Sample("letters in the port", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"), .invalidHost),
    (Sample("two ports", "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n"), .invalidHost),
    (Sample("long port", "GET / HTTP/1.1\r\nHost: a:000080\r\n\r\n"), .invalidHost),
    (Sample("port alone", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n"), .invalidHost),
    (Sample("open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), .invalidHost),
    (Sample("empty brackets", "GET / HTTP/1.1\r\nHost: []\r\n\r\n"), .invalidHost),
    (Sample("text after brackets", "GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n"), .invalidHost),
    (Sample("user in the target", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidHost),
    (Sample("target without host", "GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidHost),
    (Sample("target with a port alone", "GET http://:80/ HTTP/1.1\r\nHost: a\r\n\r\n"), .invalidHost),
    (Sample("Host against target", "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"), .mismatchedHost),
    (Sample("empty Host against target", "GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n"), .mismatchedHost),
    (Sample("port against target", "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n"), .mismatchedHost),
    (Sample("default port of another scheme", "GET https://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n"), .mismatchedHost),
    (Sample("Host against CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: b:443\r\n\r\n"), .mismatchedHost),

    // Body framing
    (Sample("empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"), .invalidContentLength),
    (Sample("signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n"), .invalidContentLength),
    (Sample("negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"), .invalidContentLength),
    (Sample("hexadecimal length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n"), .invalidContentLength),
    (Sample("two numbers", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\n"), .invalidContentLength),
    (
      Sample("2^64", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n"),
      .invalidContentLength
    ),
    (
      Sample("length of 30 digits", "POST / HTTP/1.1\r\nContent-Length: \(String(repeating: "9", count: 30))\r\n\r\n"),
      .invalidContentLength
    ),
    (
      Sample("different lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
      .repeatedContentLength
    ),
    (
      Sample("equal lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n"),
      .repeatedContentLength
    ),
    (
      Sample("list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n"),
      .repeatedContentLength
    ),
    (
      Sample(
        "length, then coding", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
      .contentLengthWithTransferEncoding
    ),
    (
      Sample(
        "coding, then length", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
      .contentLengthWithTransferEncoding
    ),
    (
      Sample("coding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
      .transferEncodingInHTTP10
    ),
    (
      Sample("unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
      .unsupportedTransferCoding
    ),
    (Sample("identity", "POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n"), .unsupportedTransferCoding),
    (Sample("empty coding", "POST / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n"), .unsupportedTransferCoding),
    (Sample("quoted coding", "POST / HTTP/1.1\r\nTransfer-Encoding: \"chunked\"\r\n\r\n"), .unsupportedTransferCoding),
    (Sample("parameter", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked;a=b\r\n\r\n"), .unsupportedTransferCoding),
    (Sample("almost chunked", "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n"), .unsupportedTransferCoding),
    (
      Sample("chunked twice", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
      .unsupportedTransferCoding
    ),
  ]

  static let all: [Sample] = cases.map(\.0)
}

@Suite struct RequestHeadRulesTests {
  @Test(arguments: BrokenHeads.cases)
  func `a broken head gives the error of its rule`(sample: Sample, error: RequestHeadError) {
    #expect(scan(sample.bytes) == .invalid(error))
  }

  @Test func `every error has a case in the table`() {
    let reached = Set(BrokenHeads.cases.map(\.1))
    #expect(RequestHeadError.allCases.filter { !reached.contains($0) }.isEmpty)
  }

  @Test func `the status codes are those of the documents`() {
    let special: [RequestHeadError: UInt16] = [
      .targetTooLong: 414, .headTooLong: 431, .tooManyFields: 431, .methodTooLong: 501, .unsupportedTransferCoding: 501,
      .unsupportedVersion: 505,
    ]
    for error in RequestHeadError.allCases { #expect(error.status == special[error] ?? 400) }
  }

  @Test(arguments: BrokenHeads.cases)
  func `the answer stays after an error, whatever follows`(sample: Sample, error: RequestHeadError) {
    var scanner = RequestHeadScanner()
    #expect(scanner.scan(sample.bytes.span) == .invalid(error))
    let more = sample.bytes + Array("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
    #expect(scanner.scan(more.span) == .invalid(error))
  }

  @Test(arguments: 0...255 as ClosedRange<UInt8>)
  func `a first byte that starts no request is answered at once`(byte: UInt8) {
    let tokens = Array("!#$%&'*+-.^_`|~0123456789".utf8)
    let isLetter = (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
    let result = scan([byte])
    if isLetter || tokens.contains(byte) || byte == 0x0d {
      #expect(result == .incomplete)
    } else {
      #expect(result == .invalid(byte == 0x16 ? .tlsRecord : byte == 0x0a ? .bareLineFeed : .invalidMethod))
    }
  }
}
