// SPDX-License-Identifier: Apache-2.0

import HTTPHead
import Testing

/// A head that is taken, and everything that the scanner says about it.
struct GoodHead: Sendable, CustomTestStringConvertible {
  var sample: Sample
  var method = RequestMethod.get
  var form = TargetForm.origin
  var target = "/"
  /// What placement hashes, when it is not the target itself.
  var routing: String?
  var host: String? = "a"
  var minor: UInt8 = 1
  var fields = 1
  var body = BodyFraming.none
  var expectsContinue = false
  var upgrade = false
  var keepAlive = true

  var testDescription: String { sample.name }

  static func get(_ name: String, _ fields: String) -> Sample {
    Sample(name, "GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n\r\n")
  }

  static func http10(_ name: String, _ fields: String) -> Sample {
    Sample(name, "GET / HTTP/1.0\r\nHost: a\r\n\(fields)\r\n\r\n")
  }

  static func line(_ name: String, _ line: String, host: String = "a") -> Sample {
    Sample(name, "\(line) HTTP/1.1\r\nHost:\(host)\r\n\r\n")
  }

  static let cases: [GoodHead] = [
    // Request line
    GoodHead(sample: line("smallest", "GET /")),
    GoodHead(
      sample: Sample("HTTP/1.0 without fields", "GET / HTTP/1.0\r\n\r\n"), host: nil, minor: 0, fields: 0,
      keepAlive: false),
    GoodHead(sample: Sample("HTTP/1.2 is HTTP/1.1", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"), minor: 2),
    GoodHead(sample: Sample("one empty line first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")),
    GoodHead(sample: Sample("two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")),
    GoodHead(sample: line("query", "GET /a?b=c"), target: "/a?b=c"),
    GoodHead(sample: line("two slashes", "GET //a"), target: "//a"),
    GoodHead(sample: line("what browsers send raw", "GET /|^\"{}<>`\\"), target: "/|^\"{}<>`\\"),
    GoodHead(sample: line("UTF-8 in the target", "GET /é"), target: "/é"),
    GoodHead(sample: line("own method", "!#$%&'*+-.^_`|~09azAZ /"), method: .other),
    GoodHead(sample: line("lower-case method is another method", "get /"), method: .other),
    GoodHead(sample: line("HEAD", "HEAD /"), method: .head),
    GoodHead(sample: line("POST", "POST /"), method: .post),
    GoodHead(sample: line("PUT", "PUT /"), method: .put),
    GoodHead(sample: line("DELETE", "DELETE /"), method: .delete),
    GoodHead(sample: line("TRACE", "TRACE /"), method: .trace),
    GoodHead(sample: line("PATCH", "PATCH /"), method: .patch),
    GoodHead(sample: line("OPTIONS with a path", "OPTIONS /"), method: .options),
    GoodHead(sample: line("asterisk", "OPTIONS *"), method: .options, form: .asterisk, target: "*"),
    GoodHead(
      sample: line("CONNECT", "CONNECT a:443"), method: .connect, form: .authority, target: "a:443", host: "a:443"),
    GoodHead(
      sample: line("CONNECT with brackets", "CONNECT [::1]:1", host: "[::1]:1"), method: .connect, form: .authority,
      target: "[::1]:1", host: "[::1]:1"),
    GoodHead(sample: line("absolute", "GET http://a/b?c"), form: .absolute, target: "http://a/b?c", routing: "/b?c"),
    GoodHead(sample: line("absolute without path", "GET http://a"), form: .absolute, target: "http://a", routing: "/"),
    GoodHead(
      sample: line("absolute with a query only", "GET http://a?b"), form: .absolute, target: "http://a?b", routing: "?b"
    ),
    GoodHead(sample: line("other scheme", "GET a+1.-://a/"), form: .absolute, target: "a+1.-://a/", routing: "/"),
    GoodHead(
      sample: line("default port in the target", "GET http://a:80/"), form: .absolute, target: "http://a:80/",
      routing: "/",
      host: "a:80"),
    GoodHead(
      sample: line("default port in Host", "GET HTTP://A/", host: "a:80"), form: .absolute, target: "HTTP://A/",
      routing: "/", host: "A"),
    GoodHead(
      sample: line("default port of https", "GET https://a/", host: "a:443"), form: .absolute, target: "https://a/",
      routing: "/"),
    GoodHead(
      sample: line("empty port", "GET http://a:/"), form: .absolute, target: "http://a:/", routing: "/", host: "a:"),

    // Host
    GoodHead(sample: line("empty Host", "GET /", host: ""), host: ""),
    GoodHead(sample: line("white space around Host", "GET /", host: " \t a.example:8080\t "), host: "a.example:8080"),
    GoodHead(sample: line("IPv6 Host", "GET /", host: "[2001:db8::1]:80"), host: "[2001:db8::1]:80"),
    GoodHead(
      sample: line("every host character", "GET /", host: "aZ09-._~!$&'()*+,;=%41"), host: "aZ09-._~!$&'()*+,;=%41"),
    GoodHead(sample: Sample("field names in any case", "GET / HTTP/1.1\r\nhOsT: a\r\n\r\n")),
    GoodHead(sample: get("empty value", "X:"), fields: 2),
    GoodHead(sample: get("obs-text and inner tabs in a value", "X: \u{e9}\ta  b"), fields: 2),

    // Body framing
    GoodHead(sample: get("length", "Content-Length: 5"), fields: 2, body: .contentLength(5)),
    GoodHead(sample: get("length zero", "Content-Length: 0"), fields: 2, body: .contentLength(0)),
    GoodHead(sample: get("leading zeros", "CONTENT-LENGTH:\t0005 "), fields: 2, body: .contentLength(5)),
    GoodHead(sample: get("2^64 - 1", "Content-Length: 18446744073709551615"), fields: 2, body: .contentLength(.max)),
    GoodHead(sample: get("chunked", "Transfer-Encoding: Chunked"), fields: 2, body: .chunked),
    GoodHead(
      sample: http10("length in HTTP/1.0", "Content-Length: 5"), minor: 0, fields: 2, body: .contentLength(5),
      keepAlive: false),

    // Expect, Upgrade, Connection
    GoodHead(sample: get("expect", "Expect: 100-Continue"), fields: 2, expectsContinue: true),
    GoodHead(sample: get("expect in a list", "Expect: a, 100-continue"), fields: 2, expectsContinue: true),
    GoodHead(sample: get("other expectation", "Expect: 100-continued"), fields: 2),
    GoodHead(sample: http10("expect in HTTP/1.0", "Expect: 100-continue"), minor: 0, fields: 2, keepAlive: false),
    GoodHead(sample: get("upgrade", "Upgrade: websocket\r\nConnection: keep-alive, Upgrade"), fields: 3, upgrade: true),
    GoodHead(sample: get("upgrade, not named in Connection", "Upgrade: websocket"), fields: 2),
    GoodHead(sample: get("Connection names an upgrade that is not there", "Connection: upgrade"), fields: 2),
    GoodHead(
      sample: http10("upgrade in HTTP/1.0", "Upgrade: websocket\r\nConnection: upgrade"), minor: 0, fields: 3,
      keepAlive: false),
    GoodHead(sample: get("close", "Connection: CLOSE"), fields: 2, keepAlive: false),
    GoodHead(
      sample: get("close in a second line", "Connection: a,, \t,\r\nConnection: b , close"), fields: 3, keepAlive: false
    ),
    GoodHead(sample: get("close and keep-alive", "Connection: keep-alive, close"), fields: 2, keepAlive: false),
    GoodHead(sample: http10("keep-alive in HTTP/1.0", "Connection: Keep-Alive"), minor: 0, fields: 2),
    GoodHead(sample: get("option that only starts like close", "Connection: closed"), fields: 2),
  ]

  static let all: [Sample] = cases.map(\.sample)
}

@Suite struct RequestHeadFactsTests {
  @Test(arguments: GoodHead.cases)
  func `a good head gives its facts`(good: GoodHead) throws {
    // Bytes of a body behind the head change nothing.
    for rest in ["", "\r\n", "body GET / HTTP/1.1\r\n\r\n"] {
      let bytes = good.sample.bytes + Array(rest.utf8)
      let result = scan(bytes)
      let head = try #require(result.head, "\(result)")
      #expect(head.method == good.method)
      #expect(head.targetForm == good.form)
      #expect(text(bytes, head.targetRange) == good.target)
      #expect(text(bytes, head.routingTarget) == good.routing ?? good.target)
      #expect(head.host.map { text(bytes, $0) } == good.host)
      #expect(head.version == HTTPVersion(major: 1, minor: good.minor))
      #expect(head.fieldCount == good.fields)
      #expect(head.body == good.body)
      #expect(head.expectsContinue == good.expectsContinue)
      #expect(head.upgrade == good.upgrade)
      #expect(head.keepAlive == good.keepAlive)
      #expect(head.length == good.sample.bytes.count)
      let line = text(bytes, 0..<head.length).split(separator: "\r\n")[0]
      #expect(line.hasPrefix(text(bytes, head.methodRange) + " " + good.target))
    }
  }

  @Test func `every registered method that has a case is recognised`() throws {
    for method in RequestMethod.allCases where method != .other && method != .connect {
      let bytes = Array("\("\(method)".uppercased()) / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
      #expect(scan(bytes).head?.method == method)
    }
  }
}

@Suite struct RequestHeadLimitsTests {
  /// A head of exactly `length` bytes.
  static func head(length: Int) -> [UInt8] {
    let start = "GET / HTTP/1.1\r\nHost: a\r\nX: "
    return Array((start + String(repeating: "x", count: length - start.utf8.count - 4) + "\r\n\r\n").utf8)
  }

  @Test func `a head of the greatest length is taken, one byte more is not`() {
    #expect(scan(Self.head(length: 16384)).head?.length == 16384)
    #expect(scan(Self.head(length: 16385)) == .invalid(.headTooLong))
    // The answer is given as soon as no rest could make the head short enough.
    #expect(scan(Array(Self.head(length: 16385).prefix(16383))) == .incomplete)
    #expect(scan(Array(Self.head(length: 16385).prefix(16384))) == .invalid(.headTooLong))
  }

  @Test func `a target of the greatest length is taken, one byte more is not`() {
    for (length, taken) in [(8192, true), (8193, false)] {
      let target = "/" + String(repeating: "a", count: length - 1)
      let result = scan(Array("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
      #expect(taken ? result.head?.targetRange.count == length : result == .invalid(.targetTooLong))
    }
  }

  @Test func `a target that alone fills the head is too long as a target`() {
    let limits = RequestHeadLimits(maximumHeadLength: 64, maximumTargetLength: 8192)
    #expect(scan(Array(("GET /" + String(repeating: "a", count: 100)).utf8), limits) == .invalid(.targetTooLong))
  }

  @Test func `a method of the greatest length is taken, one byte more is not`() {
    for (length, taken) in [(64, true), (65, false)] {
      let method = String(repeating: "M", count: length)
      let result = scan(Array("\(method) / HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
      #expect(taken ? result.head?.methodRange.count == length : result == .invalid(.methodTooLong))
    }
  }

  @Test func `the greatest number of fields is taken, one more is not`() {
    for (count, taken) in [(128, true), (129, false)] {
      let fields = "Host: a\r\n" + String(repeating: "A: b\r\n", count: count - 1)
      let result = scan(Array("GET / HTTP/1.1\r\n\(fields)\r\n".utf8))
      #expect(taken ? result.head?.fieldCount == count : result == .invalid(.tooManyFields))
    }
  }

  @Test(arguments: [Int.min, -1, 0, 1, Int.max])
  func `no limit makes the scanner trap`(value: Int) {
    let limits = RequestHeadLimits(
      maximumHeadLength: value, maximumTargetLength: value, maximumMethodLength: value, maximumFieldCount: value,
      maximumLeadingEmptyLines: value)
    for sample in GoodHead.all + BrokenHeads.all {
      let result = scan(sample.bytes, limits)
      if value <= 1 { #expect(result.head == nil) }
    }
  }
}
