// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
public import Wire

/// Hears of packets of this host that were too long for a link on their way. The kernel hears the same, but keeps it only
/// for packets that sockets have sent.
public struct PathErrorSocket: ~Copyable {
  private let socket: OwnedDescriptor
  private let isIPv4: Bool
  private var buffer = [UInt8](repeating: 0, count: 2048)

  /// Hears errors of one family, in the calling thread's network namespace. Needs CAP_NET_RAW.
  public init(isIPv4: Bool) throws(SystemError) {
    self.isIPv4 = isIPv4
    socket = try PathErrorSocket.open(isIPv4: isIPv4)
  }

  /// For epoll.
  public var descriptor: Int32 { socket.raw }

  private static func open(isIPv4: Bool) throws(SystemError) -> OwnedDescriptor {
    let type = Int32(SOCK_RAW.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let (family, number) = isIPv4 ? (AF_INET, Int32(IPPROTO_ICMP)) : (AF_INET6, Int32(IPPROTO_ICMPV6))
    let descriptor = OwnedDescriptor(
      owning: try Syscall.call("socket(SOCK_RAW, ICMP)") { Glibc.socket(family, type, number) })
    let raw = descriptor.raw
    // ICMP_FILTER of SOL_RAW and ICMP6_FILTER of the protocol: a bit for each type that is not wanted (raw(7), RFC 3542
    // section 3.2). All but destination unreachable (3) and packet too big (2).
    let wanted: Int = isIPv4 ? 3 : 2
    var filter = [UInt32](repeating: .max, count: isIPv4 ? 1 : 8)
    filter[0] &= ~(1 << UInt32(wanted))
    let size = socklen_t(filter.count * 4)
    _ = try Syscall.call("setsockopt(ICMP_FILTER)") {
      unsafe filter.withUnsafeBytes { unsafe setsockopt(raw, isIPv4 ? 255 : number, 1, $0.baseAddress, size) }
    }
    return descriptor
  }

  /// Reads at most `limit` messages that wait and gives those that are what this socket is for.
  public mutating func receive(limit: Int, _ body: (PacketTooBig) -> Void) throws(SystemError) {
    let raw = socket.raw
    for _ in 0..<limit {
      let count = try Syscall.callUnlessBlocked("recv(ICMP)") {
        unsafe buffer.withUnsafeMutableBytes { unsafe recv(raw, $0.baseAddress, $0.count, 0) }
      }
      guard let count else { return }
      let bytes = buffer.span.extracting(0..<count)
      if let report = isIPv4 ? PacketTooBig(ipv4: bytes) : PacketTooBig(icmpv6: bytes) { body(report) }
    }
  }
}
