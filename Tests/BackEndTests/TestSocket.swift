// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel
import Wire

/// A blocking view of a socket with a deadline for every operation.
final class TestSocket: Sendable {
  let socket: StreamSocket
  private let patience: UInt64 = 10_000_000_000

  struct TimedOut: Error {
    var operation: String
  }

  init(_ socket: consuming StreamSocket) { self.socket = socket }

  /// Connects inside a namespace, from `source` when given.
  static func connect(in namespace: NetworkNamespace, from source: Endpoint? = nil, to target: Endpoint) throws
    -> TestSocket
  {
    let socket = try namespace.perform {
      let socket = try StreamSocket(familyOf: target.address)
      if let source {
        try socket.set(SOL_SOCKET, SO_REUSEADDR, 1)
        try socket.bind(to: source)
      }
      try socket.connect(to: target)
      return socket
    }
    let result = TestSocket(socket)
    try result.wait(for: POLLOUT, "connect")
    if let error = result.socket.pendingError() { throw error }
    return result
  }

  static func accept(_ listener: borrowing StreamSocket) throws -> TestSocket {
    try poll(listener.raw, POLLIN, MonotonicTime.now() + 10_000_000_000, "accept")
    guard let accepted = try listener.accept() else { throw TimedOut(operation: "accept") }
    return TestSocket(accepted.take())
  }

  func wait(for events: Int32, _ operation: String) throws {
    try TestSocket.poll(socket.raw, events, MonotonicTime.now() + patience, operation)
  }

  private static func poll(_ raw: Int32, _ events: Int32, _ deadline: UInt64, _ operation: String) throws {
    while true {
      let now = MonotonicTime.now()
      if now >= deadline { throw TimedOut(operation: operation) }
      var entry = pollfd(fd: raw, events: Int16(events), revents: 0)
      if unsafe Glibc.poll(&entry, 1, Int32((deadline - now) / 1_000_000 + 1)) > 0 { return }
    }
  }

  func send(_ bytes: [UInt8]) throws {
    var offset = 0
    while offset < bytes.count {
      let count = try socket.write(bytes.span.extracting(offset..<bytes.count))
      offset += count
      if count == 0 { try wait(for: POLLOUT, "send") }
    }
  }

  func send(_ text: String) throws { try send(Array(text.utf8)) }

  /// Reads exactly so many bytes; fewer when the stream ends before.
  func receive(_ count: Int) throws -> [UInt8] {
    var result: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 256 << 10)
    while result.count < count {
      switch try StreamSocket.read(socket.raw, into: &buffer, limit: min(buffer.count, count - result.count)) {
      case .bytes(let got): result += buffer[..<got]
      case .endOfStream: return result
      case .wouldBlock: try wait(for: POLLIN, "receive after \(result.count) of \(count)")
      }
    }
    return result
  }

  /// Reads until the stream ends; throws what ended it otherwise.
  func receiveAll() throws -> [UInt8] { try receive(.max) }

  /// Reads a response head and its body by Content-Length.
  func receiveResponse() throws -> (head: String, body: [UInt8]) {
    var head: [UInt8] = []
    while !head.suffix(4).elementsEqual([13, 10, 13, 10]) {
      let byte = try receive(1)
      if byte.isEmpty { return (String(decoding: head, as: UTF8.self), []) }
      head += byte
    }
    let text = String(decoding: head, as: UTF8.self)
    let length = text.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
      .flatMap { Int($0.split(separator: " ")[1]) }
    return (text, try receive(length ?? 0))
  }

  func shutdownWriting() throws { try socket.shutdownWriting() }

  var local: Endpoint { get throws { try socket.localEndpoint() } }

  /// Makes the close that follows a reset.
  func resetOnClose() {
    var value = linger(l_onoff: 1, l_linger: 0)
    unsafe setsockopt(socket.raw, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
  }
}

/// Waits until a condition holds; false when it does not within the time.
func eventually(within seconds: Double = 10, _ condition: () throws -> Bool) rethrows -> Bool {
  let deadline = MonotonicTime.now() + UInt64(seconds * 1e9)
  while true {
    if try condition() { return true }
    if MonotonicTime.now() >= deadline { return false }
    var none = pollfd(fd: -1, events: 0, revents: 0)
    _ = unsafe poll(&none, 1, 5)
  }
}

/// Bytes that tell their own place, so that lost or doubled ranges show.
func pattern(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
  var state = seed
  var bytes: [UInt8] = []
  bytes.reserveCapacity(count)
  for _ in 0..<count {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    bytes.append(UInt8(truncatingIfNeeded: state >> 56))
  }
  return bytes
}

/// recv with MSG_PEEK of one byte.
func recvPeek(_ raw: Int32, _ byte: UnsafeMutablePointer<UInt8>) -> Int {
  unsafe recv(raw, byte, 1, Int32(MSG_PEEK))
}

/// Equality that a failed check does not try to explain byte by byte.
func same(_ left: [UInt8], _ right: [UInt8]) -> Bool { left == right }
