// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
public import Wire

/// A non-blocking, close-on-exec TCP socket.
public struct StreamSocket: ~Copyable, Sendable {
  public let descriptor: OwnedDescriptor

  public init(owning descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }

  /// A fresh socket of the address family of `address`.
  public init(familyOf address: IPAddress) throws(SystemError) {
    let family = address.isIPv4 ? AF_INET : AF_INET6
    let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    descriptor = OwnedDescriptor(owning: try Syscall.call("socket") { socket(family, type, 0) })
  }

  @inlinable
  public var raw: Int32 { descriptor.raw }

  /// Listens at `endpoint`. SO_REUSEADDR is set, so that a restart does not wait for TIME_WAIT.
  ///
  /// - Parameter sharingPort: SO_REUSEPORT, for one listener per event loop.
  public static func listen(
    at endpoint: Endpoint, backlog: Int32 = 1024, sharingPort: Bool = false
  ) throws(SystemError) -> StreamSocket {
    let socket = try StreamSocket(familyOf: endpoint.address)
    do {
      try socket.set(SOL_SOCKET, SO_REUSEADDR, 1)
      if sharingPort { try socket.set(SOL_SOCKET, SO_REUSEPORT, 1) }
      if !endpoint.address.isIPv4 { try socket.set(Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1) }
      try socket.bind(to: endpoint)
      let raw = socket.raw
      _ = try Syscall.call("listen") { Glibc.listen(raw, backlog) }
    } catch {
      throw error.on("\(endpoint)")
    }
    return socket
  }

  public func bind(to endpoint: Endpoint) throws(SystemError) {
    let raw = self.raw
    let address = SocketAddress(endpoint)
    _ = try Syscall.call("bind") { unsafe address.withPointer { unsafe Glibc.bind(raw, $0, $1) } }
  }

  /// Starts to connect. A connection that is under way is no error: writability tells the end, `pendingError` the result.
  public func connect(to endpoint: Endpoint) throws(SystemError) {
    let raw = self.raw
    let address = SocketAddress(endpoint)
    do {
      _ = try Syscall.call("connect") { unsafe address.withPointer { unsafe Glibc.connect(raw, $0, $1) } }
    } catch  where error.errno == EINPROGRESS {
      return
    }
  }

  /// The next connection of a listener with the peer's endpoint, nil when none waits.
  public func accept() throws(SystemError) -> Accepted? {
    let raw = self.raw
    var address = SocketAddress()
    let flags = Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let result = try Syscall.callUnlessBlocked("accept4") {
      unsafe address.withMutablePointer { unsafe clinux_accept4(raw, $0, $1, flags) }
    }
    guard let result else { return nil }
    return Accepted(
      socket: StreamSocket(owning: OwnedDescriptor(owning: result)),
      peer: address.endpoint ?? Endpoint(IPAddress(ipv4: 0), 0))
  }

  public struct Accepted: ~Copyable {
    public let socket: StreamSocket
    public let peer: Endpoint

    public consuming func take() -> StreamSocket { socket }
  }

  /// SO_ERROR, which reading clears; nil when there is none.
  public func pendingError(of call: String = "connect") -> SystemError? {
    var code: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    unsafe getsockopt(raw, SOL_SOCKET, SO_ERROR, &code, &length)
    return code == 0 ? nil : SystemError(call, errno: code)
  }

  public func localEndpoint() throws(SystemError) -> Endpoint {
    let raw = self.raw
    var address = SocketAddress()
    _ = try Syscall.call("getsockname") { unsafe address.withMutablePointer { unsafe getsockname(raw, $0, $1) } }
    guard let endpoint = address.endpoint else { throw SystemError("getsockname", errno: EAFNOSUPPORT) }
    return endpoint
  }

  public func set(_ level: Int32, _ option: Int32, _ value: Int32) throws(SystemError) {
    try SocketOption.set(raw, level, option, value)
  }

  public func get(_ level: Int32, _ option: Int32) throws(SystemError) -> Int32 {
    try SocketOption.get(raw, level, option)
  }

  /// What one read gave.
  public enum ReadResult: Hashable, Sendable {
    case bytes(Int)
    case endOfStream
    case wouldBlock
  }

  /// Reads into the bytes from `offset` on.
  public func read(into buffer: inout [UInt8], from offset: Int = 0) throws(SystemError) -> ReadResult {
    try StreamSocket.read(raw, into: &buffer, from: offset)
  }

  /// `read` for drivers that keep bare descriptors in their tables.
  public static func read(
    _ raw: Int32, into buffer: inout [UInt8], from offset: Int = 0
  ) throws(SystemError) -> ReadResult {
    let capacity = buffer.count - offset
    precondition(capacity > 0)
    let count = try Syscall.callUnlessBlocked("recv") {
      unsafe buffer.withUnsafeMutableBytes { unsafe recv(raw, $0.baseAddress! + offset, capacity, 0) }
    }
    guard let count else { return .wouldBlock }
    return count == 0 ? .endOfStream : .bytes(count)
  }

  /// Writes what fits and returns how much; 0 when the socket's buffer is full. Never raises SIGPIPE.
  public func write(_ bytes: Span<UInt8>) throws(SystemError) -> Int {
    try StreamSocket.write(raw, bytes)
  }

  public static func write(_ raw: Int32, _ bytes: Span<UInt8>) throws(SystemError) -> Int {
    let count = try Syscall.callUnlessBlocked("send") {
      unsafe bytes.withUnsafeBytes { unsafe send(raw, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }
    return count ?? 0
  }

  public func shutdownWriting() throws(SystemError) {
    let raw = self.raw
    _ = try Syscall.call("shutdown") { shutdown(raw, Int32(SHUT_WR)) }
  }
}

/// getsockopt and setsockopt with an Int32.
public enum SocketOption {
  public static func set(_ raw: Int32, _ level: Int32, _ option: Int32, _ value: Int32) throws(SystemError) {
    var value = value
    _ = try Syscall.call("setsockopt") {
      unsafe setsockopt(raw, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }
  }

  public static func get(_ raw: Int32, _ level: Int32, _ option: Int32) throws(SystemError) -> Int32 {
    var value: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    _ = try Syscall.call("getsockopt") { unsafe getsockopt(raw, level, option, &value, &length) }
    return value
  }
}
