// SPDX-License-Identifier: Apache-2.0

import Lab
import Testing
import Wire

extension IntegrationTests {
  /// What curl does not do: pipelining, requests in pieces, WebSocket frames, half-closed connections.
  @Suite(.serialized, .clusters)
  struct ProtocolTests {
    @Test(arguments: Stage.eachServer)
    func pipelinedRequests(_ stage: Stage) throws {
      let cluster = try ClusterPool.cluster(stage)
      for endpoint in cluster.endpoints + cluster.endpoints6 {
        let client = try RawClient(cluster, to: endpoint)
        let pages = [TestSite.small, TestSite.site.pages[12], TestSite.small]
        try client.send(
          pages.map { "GET \($0.path) HTTP/1.1\r\nHost: lab\r\n\r\n" }.joined()
            + "GET \(TestSite.site.pages[13].path) HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")
        let answers = try Answers(parsing: client.readToEnd())
        #expect(answers.bodies == (pages + [TestSite.site.pages[13]]).map { TestSite.bytes(of: $0) })
        #expect(answers.statuses == [200, 200, 200, 200])
      }
    }

    @Test(arguments: Stage.eachServer)
    func requestInPieces(_ stage: Stage) throws {
      let cluster = try ClusterPool.cluster(stage)
      let client = try RawClient(cluster, to: cluster.endpoints[0])
      let request = "GET \(TestSite.small.path) HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n"
      for byte in Array(request.utf8) { try client.send([byte]) }
      let answers = try Answers(parsing: client.readToEnd())
      #expect(answers.bodies == [TestSite.bytes(of: TestSite.small)])
    }

    /// A head as large as every server takes by default (8 KB) comes in several segments.
    @Test(arguments: Stage.eachServer)
    func largeHead(_ stage: Stage) throws {
      let cluster = try ClusterPool.cluster(stage)
      let client = try RawClient(cluster, to: cluster.endpoints[0])
      let cookie = String(repeating: "c", count: 3500)
      try client.send(
        "GET \(TestSite.small.path) HTTP/1.1\r\nHost: lab\r\nX-One: \(cookie)\r\nX-Two: \(cookie)\r\n"
          + "Connection: close\r\n\r\n")
      let answers = try Answers(parsing: client.readToEnd())
      #expect(answers.bodies == [TestSite.bytes(of: TestSite.small)])
    }

    @Test(arguments: Stage.eachServer)
    func webSocket(_ stage: Stage) throws {
      let cluster = try ClusterPool.cluster(stage)
      let client = try RawClient(cluster, to: cluster.endpoints[0])
      try client.send(
        "GET /app/ws HTTP/1.1\r\nHost: lab\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
      let head = try client.read { $0.count >= 4 && $0.suffix(4) == [13, 10, 13, 10] }
      let text = String(decoding: head, as: UTF8.self)
      #expect(text.hasPrefix("HTTP/1.1 101"))
      // The key and its answer are the example of RFC 6455 section 1.3.
      #expect(text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
      for size in [0, 5, 125, 126, 40_000] {
        let message = TestSite.site.content(of: TestSite.medium).bytes(from: size, count: size)
        try client.send(Self.frame(opcode: 2, message))
        let wanted = Self.frame(opcode: 2, message, masked: false)
        #expect(try client.read { $0.count >= wanted.count } == wanted, "message of \(size) bytes")
      }
      try client.send(Self.frame(opcode: 8, [3, 232]))
      #expect(try client.readToEnd() == Self.frame(opcode: 8, [3, 232], masked: false))
    }

    /// The client says that it will send no more and still gets the whole answer. Not with nginx, which takes a client that
    /// has closed its side for gone, with or without this cluster in between.
    @Test(arguments: Stage.eachServer.filter { $0.front != .haproxy && $0.servers != [.nginx] })
    func halfClose(_ stage: Stage) throws {
      let cluster = try ClusterPool.cluster(stage)
      let client = try RawClient(cluster, to: cluster.endpoints[0])
      try client.send("GET \(TestSite.medium.path) HTTP/1.0\r\nHost: lab\r\n\r\n")
      try client.shutdownWriting()
      let answers = try Answers(parsing: client.readToEnd())
      #expect(answers.bodies == [TestSite.bytes(of: TestSite.medium)])
    }

    /// RFC 6455 section 5.2.
    static func frame(opcode: UInt8, _ message: [UInt8], masked: Bool = true) -> [UInt8] {
      var frame: [UInt8] = [0x80 | opcode]
      let mask: UInt8 = masked ? 0x80 : 0
      switch message.count {
      case ..<126: frame.append(mask | UInt8(message.count))
      case ..<65_536: frame += [mask | 126, UInt8(message.count >> 8), UInt8(message.count & 0xff)]
      default: preconditionFailure("longer messages are not needed")
      }
      guard masked else { return frame + message }
      let key: [UInt8] = [0x12, 0x34, 0x56, 0x78]
      return frame + key + message.enumerated().map { $0.element ^ key[$0.offset % 4] }
    }
  }
}

/// Answers with a Content-Length, one after the other.
struct Answers {
  var statuses: [Int] = []
  var bodies: [[UInt8]] = []

  init(parsing bytes: [UInt8]) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      guard let end = rest.firstRange(of: [13, 10, 13, 10]) else {
        throw LabError("no end of the head: \(String(decoding: rest.prefix(200), as: UTF8.self))")
      }
      let lines = String(decoding: rest[..<end.lowerBound], as: UTF8.self).split(separator: "\r\n")
      let words = lines.first?.split(separator: " ") ?? []
      let length = lines.first { $0.lowercased().hasPrefix("content-length:") }
        .flatMap { Int($0.split(separator: ":")[1].filter { $0 != " " }) }
      guard words.count > 1, let status = Int(words[1]), let length,
        rest.count - (end.upperBound - rest.startIndex) >= length
      else { throw LabError("not a whole answer: \(lines)") }
      statuses.append(status)
      bodies.append(Array(rest[end.upperBound..<end.upperBound + length]))
      rest = rest[(end.upperBound + length)...]
    }
  }
}
