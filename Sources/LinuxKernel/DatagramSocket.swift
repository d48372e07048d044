// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
public import Wire

/// A UDP socket that only sends. Any thread may send.
public struct DatagramSocket: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor

  /// A socket with this source address and a port of the kernel's choice, in the calling thread's network namespace.
  public init(from source: IPAddress) throws(SystemError) { descriptor = try DatagramSocket.open(source) }

  private static func open(_ source: IPAddress) throws(SystemError) -> OwnedDescriptor {
    let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let family = source.isIPv4 ? AF_INET : AF_INET6
    let descriptor = OwnedDescriptor(owning: try Syscall.call("socket(SOCK_DGRAM)") { socket(family, type, 0) })
    let raw = descriptor.raw
    let address = SocketAddress(Endpoint(source, 0))
    do {
      _ = try Syscall.call("bind") { unsafe address.withPointer { unsafe bind(raw, $0, $1) } }
    } catch {
      throw error.on("\(source)")
    }
    return descriptor
  }

  /// Sends one datagram; false when the queue on the way is full, in which case nothing was sent.
  public func send(_ payload: Span<UInt8>, to endpoint: Endpoint) throws(SystemError) -> Bool {
    let address = SocketAddress(endpoint)
    let raw = descriptor.raw
    do {
      let count = try Syscall.callUnlessBlocked("sendto(SOCK_DGRAM)") {
        unsafe payload.withUnsafeBytes { bytes in
          unsafe address.withPointer {
            unsafe sendto(raw, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL), $0, $1)
          }
        }
      }
      return count != nil
    } catch  where error.errno == ENOBUFS {
      return false
    }
  }
}
