// SPDX-License-Identifier: Apache-2.0

import Lab
import Testing
import Wire

/// One way to misbehave, and what the distributor must have counted afterwards.
struct RawCase: Sendable, CustomTestStringConvertible {
  var testDescription: String
  /// Outcomes of packets.
  var packets: [String] = []
  /// Outcome of the connection, if there is one.
  var connection: String?
  /// Outcome of the handshake.
  var handshake: String?
  /// Outcomes of packets in the kernel's program.
  var kernel: [String] = []
  /// Any server must take this: it is tried against the web server itself too.
  var isProper = false
  var body: @Sendable (RawPeer) throws -> Void

  static let kernelFamily = "handoff_forwarding_packets_total"

  init(
    _ name: String, packets: [String] = [], connection: String? = nil, handshake: String? = nil, kernel: [String] = [],
    isProper: Bool = false,
    _ body: @escaping @Sendable (RawPeer) throws -> Void
  ) {
    testDescription = name
    self.packets = packets
    self.connection = connection
    self.handshake = handshake
    self.kernel = kernel
    self.isProper = isProper
    self.body = body
  }

  var expected: [String: [String: Double]] {
    var expected: [String: [String: Double]] = [:]
    for packet in packets { expected["packets_total", default: [:]][packet] = 1 }
    for packet in kernel { expected[RawCase.kernelFamily, default: [:]][packet] = 1 }
    if let connection { expected["connections_total"] = [connection: 1] }
    if let handshake { expected["handshakes_total"] = [handshake: 1] }
    return expected
  }
}

/// What the cases say and expect.
enum Request {
  static func get(_ page: Site.Page, close: Bool = true) -> String {
    "GET \(page.path) HTTP/1.1\r\nHost: lab\r\n\(close ? "Connection: close\r\n" : "")\r\n"
  }
  static let small = get(TestSite.small)
  static var smallBytes: [UInt8] { Array(small.utf8) }
  static var smallAnswer: RawAnswer { RawAnswer(status: 200, body: TestSite.bytes(of: TestSite.small)) }
}

extension RawPeer {
  /// The rest of a connection that asked for the small page once and properly.
  func expectSmallPage() throws {
    #expect(try answers() == [Request.smallAnswer])
    try close()
    #expect(!isReset)
  }

  /// The whole of such a connection, after something odd that must not have hurt it.
  func askProperly() throws {
    try send(Request.small)
    try expectSmallPage()
  }

  /// The distributor's own answer, and the end of the connection.
  func expectRefusal(_ status: Int) throws {
    #expect(try answers().map(\.status) == [status])
    try close()
    #expect(!isReset)
  }
}
