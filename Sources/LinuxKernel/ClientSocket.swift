// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
public import Wire

/// What a client does in bulk, with bare descriptors and without an error for what is normal. The caller closes the
/// descriptors with `StreamSocket.close`.
public enum ClientSocket {
  /// Opens a non-blocking TCP socket and starts to connect.
  ///
  /// - Parameter source: the address to dial from; the port is chosen at connect (IP_BIND_ADDRESS_NO_PORT), so that one
  ///   port serves several peers. Nil leaves the address to the kernel.
  public static func dial(_ target: Endpoint, from source: IPAddress?) throws(SystemError) -> Int32 {
    let family = target.address.isIPv4 ? AF_INET : AF_INET6
    let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let raw = try Syscall.call("socket") { socket(family, type, 0) }
    do {
      if let source {
        // IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT (include/uapi/linux/in.h).
        try SocketOption.set(raw, 0, 24, 1)
        let address = SocketAddress(Endpoint(source, 0))
        _ = try Syscall.call("bind") { unsafe address.withPointer { unsafe Glibc.bind(raw, $0, $1) } }
      }
      let address = SocketAddress(target)
      try Syscall.call("connect", tolerating: EINPROGRESS) {
        unsafe address.withPointer { unsafe Glibc.connect(raw, $0, $1) }
      }
    } catch {
      StreamSocket.close(raw)
      throw error
    }
    return raw
  }

  /// Reads at most `limit` bytes into the buffer from `offset` on.
  public static func read(
    _ raw: Int32, into buffer: inout [UInt8], from offset: Int, limit: Int
  ) throws(SystemError) -> StreamSocket.ReadResult {
    let capacity = min(limit, buffer.count - offset)
    precondition(capacity > 0)
    let count = try Syscall.callUnlessBlocked("recv") {
      unsafe buffer.withUnsafeMutableBytes { unsafe recv(raw, $0.baseAddress! + offset, capacity, 0) }
    }
    guard let count else { return .wouldBlock }
    return count == 0 ? .endOfStream : .bytes(count)
  }

  /// Takes at most `limit` bytes out of the receive queue without copying them (MSG_TRUNC, tcp(7)).
  public static func discard(_ raw: Int32, limit: Int) throws(SystemError) -> StreamSocket.ReadResult {
    // With MSG_TRUNC the kernel writes nothing to the buffer.
    let count = try Syscall.callUnlessBlocked("recv") { recv(raw, nil, limit, Int32(MSG_TRUNC)) }
    guard let count else { return .wouldBlock }
    return count == 0 ? .endOfStream : .bytes(count)
  }
}

extension SystemError {
  /// EMFILE or ENFILE.
  public var isOutOfDescriptors: Bool { errno == EMFILE || errno == ENFILE }
  /// ETIMEDOUT: the kernel gave up on the peer.
  public var isTimeout: Bool { errno == ETIMEDOUT }
}
