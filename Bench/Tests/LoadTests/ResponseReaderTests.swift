// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Load

@Suite struct ResponseReaderTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var text: String
    var status = 200
    var body = 0
    var closes = false
    var testDescription: String { name }
  }

  static let heads = [
    Case(name: "plain", text: "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", body: 12),
    Case(name: "small letters", text: "HTTP/1.1 200 OK\r\ncontent-length:7\r\n\r\n", body: 7),
    Case(name: "close", text: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", closes: true),
    Case(name: "keep-alive", text: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n", body: 3),
    Case(name: "old version", text: "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", body: 3, closes: true),
    Case(
      name: "other fields with c and t",
      text: "HTTP/1.1 200 OK\r\nCache-Control: no\r\nTrailer: x\r\nc:1\r\nContent-Length: 5\r\n\r\n", body: 5),
    Case(name: "not found", text: "HTTP/1.1 404 Not Found\r\nContent-Length: 153\r\n\r\n", status: 404, body: 153),
    Case(name: "no content", text: "HTTP/1.1 204 No Content\r\n\r\n", status: 204),
    Case(name: "a short field last", text: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nc:1\r\n\r\n", body: 5),
  ]

  /// With every amount of bytes after the head, and with every shorter beginning being incomplete.
  @Test(arguments: heads)
  func readsHeads(_ wanted: Case) throws {
    let bytes = Array(wanted.text.utf8)
    for extra in ["", "x", "HTTP/1.1 200 OK\r\n"] {
      let all = bytes + Array(extra.utf8)
      let head = try #require(try ResponseReader.head(all.span))
      #expect(head.length == bytes.count)
      #expect(head.status == wanted.status)
      #expect(head.bodyLength == wanted.body)
      #expect(head.closes == wanted.closes)
    }
    for count in 0..<bytes.count {
      let part = Array(bytes[..<count])
      #expect(try ResponseReader.head(part.span) == nil, "\(count) bytes")
    }
  }

  @Test(arguments: [
    ("no HTTP", "SSH-2.0-OpenSSH_9.2p1\r\n\r\n", ResponseReader.Failure.malformed),
    ("status without digits", "HTTP/1.1 2x0 OK\r\nContent-Length: 1\r\n\r\n", .malformed),
    ("length without digits", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", .malformed),
    ("length too long", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", .malformed),
    ("no length", "HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", .unframed),
    ("chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .unframed),
    ("carriage return alone", "HTTP/1.1 200 OK\r\n\rContent-Length: 1\r\n\r\n", .malformed),
  ])
  func refuses(_ name: String, _ text: String, _ failure: ResponseReader.Failure) {
    #expect(throws: failure) { try ResponseReader.head(Array(text.utf8).span) }
  }
}
