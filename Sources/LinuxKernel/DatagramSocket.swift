// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
public import Wire

/// A UDP socket that only sends. Its datagrams are never cut into fragments, which the programs that they are for do not take:
/// one that is too long for a link on the way is lost, and a router's error tells (`PathErrorSocket`). Any thread may send.
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
    // IP_MTU_DISCOVER and IPV6_MTU_DISCOVER with PMTUDISC_PROBE (ip(7), include/uapi/linux/in.h, in6.h).
    let (level, option): (Int32, Int32) = source.isIPv4 ? (Int32(IPPROTO_IP), 10) : (Int32(IPPROTO_IPV6), 23)
    try SocketOption.set(raw, level, option, 3)
    do {
      _ = try Syscall.call("bind") { unsafe address.withPointer { unsafe bind(raw, $0, $1) } }
    } catch {
      throw error.on("\(source)")
    }
    return descriptor
  }

  /// Sends one datagram; false when the queue on the way is full, in which case nothing was sent.
  ///
  /// - Throws: EMSGSIZE when it is too long for the interface.
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
