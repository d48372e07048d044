// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel
import Wire

/// A TCP connection from the clients' namespace, byte by byte under the test's control.
final class RawClient: Sendable {
  private let socket: StreamSocket
  let local: Endpoint

  /// Connects from one of the cluster's client addresses.
  init(_ cluster: Cluster, to endpoint: Endpoint, source index: Int = 0) throws {
    let pair = cluster.clientAddresses[index]
    let source = endpoint.address.isIPv4 ? pair.ipv4 : pair.ipv6
    socket = try cluster.client.perform {
      let socket = try StreamSocket(familyOf: endpoint.address)
      try socket.bind(to: Endpoint(source, 0))
      try socket.connect(to: endpoint)
      return socket
    }
    local = try socket.localEndpoint()
    try RawClient.wait(socket.raw, Int16(POLLOUT), until: MonotonicTime.now() &+ 5_000_000_000)
    if let error = socket.pendingError() { throw error }
  }

  func send(_ text: String) throws { try send(Array(text.utf8)) }

  func send(_ bytes: [UInt8], within seconds: Double = 10) throws {
    let deadline = MonotonicTime.now() &+ UInt64(seconds * 1e9)
    var offset = 0
    while offset < bytes.count {
      try RawClient.wait(socket.raw, Int16(POLLOUT), until: deadline)
      offset += try socket.write(bytes.span.extracting(offset..<bytes.count))
    }
  }

  func shutdownWriting() throws { try socket.shutdownWriting() }

  /// Reads until the bytes satisfy the condition; throws at the end of the stream or after `seconds`.
  func read(within seconds: Double = 10, until isEnough: ([UInt8]) -> Bool) throws -> [UInt8] {
    let deadline = MonotonicTime.now() &+ UInt64(seconds * 1e9)
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while !isEnough(bytes) {
      switch try socket.read(into: &buffer) {
      case .bytes(let count): bytes += buffer[..<count]
      case .endOfStream: throw LabError("the stream ended after: \(String(decoding: bytes.prefix(400), as: UTF8.self))")
      case .wouldBlock: try RawClient.wait(socket.raw, Int16(POLLIN), until: deadline)
      }
    }
    return bytes
  }

  /// Reads to the end of the stream.
  func readToEnd(within seconds: Double = 10) throws -> [UInt8] {
    let deadline = MonotonicTime.now() &+ UInt64(seconds * 1e9)
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      switch try socket.read(into: &buffer) {
      case .bytes(let count): bytes += buffer[..<count]
      case .endOfStream: return bytes
      case .wouldBlock: try RawClient.wait(socket.raw, Int16(POLLIN), until: deadline)
      }
    }
  }

  private static func wait(_ raw: Int32, _ events: Int16, until deadline: UInt64) throws {
    var entry = pollfd(fd: raw, events: events, revents: 0)
    let now = MonotonicTime.now()
    let timeout = deadline > now ? Int32(clamping: (deadline - now) / 1_000_000) : 0
    if unsafe poll(&entry, 1, timeout) == 0 { throw LabError("nothing happened on the connection in time") }
  }
}
