// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxKernel
public import Wire

/// One GET over a connection of its own: for readiness and for /metrics.
public enum HTTPProbe {
  public struct Answer: Sendable {
    public var status: Int
    public var body: String
  }

  /// Asks from inside a namespace.
  public static func get(
    _ path: String, at endpoint: Endpoint, in namespace: NetworkNamespace, within seconds: Double = 2
  ) throws(LabError) -> Answer {
    do {
      return try namespace.perform { try get(path, at: endpoint, within: seconds) }
    } catch {
      throw LabError("GET http://\(endpoint)\(path) in \(namespace.name): \(error)")
    }
  }

  /// Asks from the calling thread's namespace.
  public static func get(
    _ path: String, at endpoint: Endpoint, within seconds: Double = 2
  ) throws -> Answer {
    let deadline = MonotonicTime.now() &+ UInt64(seconds * 1e9)
    let socket = try StreamSocket(familyOf: endpoint.address)
    try socket.connect(to: endpoint)
    try Poll.wait(socket.raw, Int16(POLLOUT), until: deadline)
    if let error = socket.pendingError() { throw error }
    let request = Array("GET \(path) HTTP/1.0\r\nHost: lab\r\n\r\n".utf8)
    _ = try socket.write(request.span)
    var answer: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    reading: while true {
      switch try socket.read(into: &buffer) {
      case .bytes(let count): answer += buffer[..<count]
      case .endOfStream: break reading
      case .wouldBlock: try Poll.wait(socket.raw, Int16(POLLIN), until: deadline)
      }
    }
    let text = String(decoding: answer, as: UTF8.self)
    let words = text.prefix(40).split(separator: " ")
    guard words.count >= 2, let status = Int(words[1]), let end = text.firstRange(of: "\r\n\r\n") else {
      throw LabError("the answer is no HTTP: \(text.prefix(80))")
    }
    return Answer(status: status, body: String(text[end.upperBound...]))
  }

  /// Asks again and again until the answer has status 200.
  ///
  /// - Parameter alive: asked before each try; throws when waiting is in vain.
  public static func waitUntilReady(
    _ path: String, at endpoint: Endpoint, in namespace: NetworkNamespace, within seconds: Double,
    alive: () throws(LabError) -> Void
  ) throws(LabError) {
    let deadline = MonotonicTime.now() &+ UInt64(seconds * 1e9)
    var last = "no answer"
    while MonotonicTime.now() < deadline {
      try alive()
      do {
        let answer = try get(path, at: endpoint, in: namespace)
        if answer.status == 200 { return }
        last = "status \(answer.status): \(answer.body)"
      } catch {
        last = error.description
      }
      Poll.pause(milliseconds: 10)
    }
    throw LabError("http://\(endpoint)\(path) in \(namespace.name) was not ready within \(seconds) s: \(last)")
  }
}

/// Waiting on one descriptor, for tools.
enum Poll {
  static func wait(_ raw: Int32, _ events: Int16, until deadline: UInt64) throws(LabError) {
    var entry = pollfd(fd: raw, events: events, revents: 0)
    let now = MonotonicTime.now()
    let timeout = deadline > now ? Int32(clamping: (deadline - now + 999_999) / 1_000_000) : 0
    if unsafe poll(&entry, 1, timeout) == 0 { throw LabError("no answer in time") }
  }

  /// Between two looks at something that cannot be waited on.
  static func pause(milliseconds: Int32) { _ = poll(nil, 0, milliseconds) }
}

/// Repeats a look at something until it is as wanted.
public enum Eventually {
  /// Looks every 10 ms; throws what was seen last when `seconds` have passed.
  public static func within<Value>(
    _ seconds: Double, _ look: () throws -> Value, until isRight: (Value) -> Bool
  ) throws -> Value {
    let deadline = MonotonicTime.now() &+ UInt64(seconds * 1e9)
    while true {
      let value = try look()
      if isRight(value) { return value }
      if MonotonicTime.now() > deadline { throw LabError("not within \(seconds) s; seen last: \(value)") }
      Poll.pause(milliseconds: 10)
    }
  }
}
