// SPDX-License-Identifier: Apache-2.0

/// The answers that a distributor gives by itself, each as a complete HTTP/1.1 response that closes the connection.
enum StatusAnswer: UInt16, CaseIterable, BitwiseCopyable {
  case badRequest = 400
  case requestTimeout = 408
  case targetTooLong = 414
  case headTooLarge = 431
  case notImplemented = 501
  case unavailable = 503
  case versionNotSupported = 505

  /// The answer to a head that the scanner refused. A status that has no answer here is one of the client's faults.
  init(refusing status: UInt16) { self = StatusAnswer(rawValue: status) ?? .badRequest }

  /// RFC 9110 section 15, RFC 6585 section 5.
  private var reason: String {
    switch self {
    case .badRequest: "Bad Request"
    case .requestTimeout: "Request Timeout"
    case .targetTooLong: "URI Too Long"
    case .headTooLarge: "Request Header Fields Too Large"
    case .notImplemented: "Not Implemented"
    case .unavailable: "Service Unavailable"
    case .versionNotSupported: "HTTP Version Not Supported"
    }
  }

  /// The body says again what the status line says, for people.
  private var body: String { "\(rawValue) \(reason)\n" }

  /// Status line and fields, up to where `Date` may follow.
  fileprivate var head: [UInt8] {
    var text = "HTTP/1.1 \(rawValue) \(reason)\r\nContent-Type: text/plain\r\nContent-Length: \(body.utf8.count)\r\n"
    text += "Connection: close\r\n"
    if self == .unavailable { text += "Retry-After: 1\r\n" }
    return Array(text.utf8)
  }

  fileprivate var bodyBytes: [UInt8] { Array(body.utf8) }
}

/// The bytes of all answers, built once.
struct AnswerBook {
  private var heads: [[UInt8]] = StatusAnswer.allCases.map(\.head)
  private var bodies: [[UInt8]] = StatusAnswer.allCases.map(\.bodyBytes)

  /// Writes the bytes of `reply` to `text`, the same each time for the same reply.
  func render(_ reply: Reply, into text: inout [UInt8]) {
    text.removeAll(keepingCapacity: true)
    guard case .answer(let status, let withBody, let date) = reply,
      let index = StatusAnswer.allCases.firstIndex(of: status)
    else { return }
    text += heads[index]
    // RFC 9110 section 6.6.1: a server without a clock sends no Date.
    if let date { HTTPDate.append(date, to: &text) }
    text += [0x0d, 0x0a]
    if withBody { text += bodies[index] }
  }
}
