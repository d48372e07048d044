// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel
import Testing
import Wire

/// Opens connections one after the other, each with one request, several at a time, from whatever local port the kernel
/// gives; checks every byte of every answer.
struct StormClient: ~Copyable {
  enum Closing: String, Sendable, CaseIterable, CustomTestStringConvertible {
    /// The server's end is in TIME_WAIT.
    case serverFirst
    /// The client's end is in TIME_WAIT.
    case clientFirst
    /// Nobody is: the port is free at once.
    case clientResets

    var testDescription: String { rawValue }
  }

  struct Result: Sendable {
    var completed = 0
    /// What went wrong, the first few.
    var failures: [String] = []
    /// Nanoseconds from the first connect to the end of the answer, of the slowest connection.
    var longest: UInt64 = 0
    /// Connects for which no local port was free: the storm waits then.
    var portless = 0
  }

  private final class Connection {
    let socket: StreamSocket
    let began: UInt64
    var hasAsked = false
    var received: [UInt8] = []

    init(_ socket: consuming StreamSocket, began: UInt64) {
      self.socket = socket
      self.began = began
    }
  }

  private let endpoint: Endpoint
  private let closing: Closing
  private let request: [UInt8]
  private let body: [UInt8]
  private var epoll: Epoll
  private var open: [UInt64: Connection] = [:]
  private var buffer = [UInt8](repeating: 0, count: 1 << 16)
  private var result = Result()
  private static let patience: UInt64 = 20_000_000_000

  /// - Parameter body: what the server answers for `path`.
  init(_ endpoint: Endpoint, _ path: String, body: [UInt8], closing: Closing) throws {
    self.endpoint = endpoint
    self.closing = closing
    self.body = body
    let header = closing == .serverFirst ? "Connection: close\r\n" : ""
    request = Array("GET \(path) HTTP/1.1\r\nHost: lab\r\n\(header)\r\n".utf8)
    epoll = try Epoll(capacity: 256)
  }

  /// In the calling thread's namespace.
  consuming func run(connections: Int, atATime: Int) throws -> Result {
    var begun = 0
    while begun < connections || !open.isEmpty {
      while begun < connections, open.count < atATime, try begin() { begun += 1 }
      // Without a free port another connection has to end first, or a millisecond to pass.
      let now = MonotonicTime.now()
      let count = epoll.wait(until: now + (begun < connections ? 1_000_000 : 100_000_000))
      for index in 0..<count { advance(epoll.ready(index).token) }
      expire(MonotonicTime.now())
    }
    return result
  }

  private mutating func begin() throws -> Bool {
    let socket = try StreamSocket(familyOf: endpoint.address)
    do {
      try socket.connect(to: endpoint)
    } catch {
      guard error.errno == EADDRNOTAVAIL else { throw error }
      result.portless += 1
      return false
    }
    let token = UInt64(socket.raw)
    try epoll.add(socket.raw, .write, token: token)
    open[token] = Connection(socket, began: MonotonicTime.now())
    return true
  }

  private mutating func advance(_ token: UInt64) {
    guard let connection = open[token] else { return }
    do throws(SystemError) {
      if !connection.hasAsked {
        if let error = connection.socket.pendingError() { throw error }
        _ = try connection.socket.write(request.span)
        connection.hasAsked = true
        try epoll.modify(connection.socket.raw, .read, token: token)
        return
      }
      while true {
        switch try connection.socket.read(into: &buffer) {
        case .wouldBlock: return
        case .bytes(let count):
          connection.received += buffer[..<count]
          if closing != .serverFirst, isComplete(connection) { return end(token, connection, nil) }
        case .endOfStream:
          let isRight = closing == .serverFirst && isComplete(connection)
          return end(token, connection, isRight ? nil : "ended after \(connection.received.count) bytes")
        }
      }
    } catch {
      end(token, connection, "\(error) after \(connection.received.count) bytes")
    }
  }

  private func isComplete(_ connection: Connection) -> Bool {
    connection.received.count > body.count && connection.received.suffix(body.count).elementsEqual(body)
      && connection.received.starts(with: Array("HTTP/1.1 200".utf8))
  }

  private mutating func end(_ token: UInt64, _ connection: Connection, _ failure: String?) {
    open[token] = nil
    try? epoll.remove(connection.socket.raw)
    if closing == .clientResets {
      // A linger time of 0 makes closing a reset.
      var linger = linger(l_onoff: 1, l_linger: 0)
      _ = unsafe setsockopt(
        connection.socket.raw, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
    }
    let time = MonotonicTime.now() - connection.began
    result.longest = max(result.longest, time)
    if let failure {
      if result.failures.count < 5 { result.failures.append("after \(time / 1_000_000) ms: \(failure)") }
    } else {
      result.completed += 1
    }
  }

  private mutating func expire(_ now: UInt64) {
    for (token, connection) in open where now - connection.began > Self.patience {
      end(token, connection, "no answer, \(connection.received.count) bytes")
    }
  }
}
