// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Wire

/// Sends whole IP packets (header included) into the node's routing, many per system call. The source address is taken
/// from the packet, so it may be any address: an answer from the served address, or a client's packet for a local socket.
@safe
public struct RawPacketSender: ~Copyable {
  private let ipv4: OwnedDescriptor
  private let ipv6: OwnedDescriptor
  private var messages: [clinux_mmsghdr]
  private var vectors: [iovec]
  private var addresses: [sockaddr_storage]

  private static let batch = 64

  /// - Throws: EPERM without CAP_NET_RAW.
  public init() throws(SystemError) {
    let ipv4 = try RawPacketSender.open(AF_INET)
    let ipv6 = try RawPacketSender.open(AF_INET6)
    self.ipv4 = ipv4
    self.ipv6 = ipv6
    unsafe messages = unsafe Array(repeating: clinux_mmsghdr(), count: RawPacketSender.batch)
    unsafe vectors = unsafe Array(repeating: iovec(), count: RawPacketSender.batch)
    addresses = Array(repeating: sockaddr_storage(), count: RawPacketSender.batch)
  }

  private static func open(_ family: Int32) throws(SystemError) -> OwnedDescriptor {
    let type = Int32(SOCK_RAW.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    do {
      // IPPROTO_RAW implies a header by the caller for both families and receives nothing: raw(7), `rawv6_init_sk`.
      let raw = try Syscall.call("socket") { socket(family, type, Int32(IPPROTO_RAW)) }
      return OwnedDescriptor(owning: raw)
    } catch {
      throw error.on("a raw socket")
    }
  }

  /// Sends the packets at `ranges` of `bytes`, in order.
  ///
  /// - Returns: how many the kernel took. A packet that it refuses (no route, full queue) is skipped and not counted: to
  ///   TCP it is a lost packet.
  public mutating func send(_ ranges: Span<Range<Int>>, of bytes: Span<UInt8>) -> Int {
    var sent = 0
    var next = 0
    while next < ranges.count {
      // One call carries packets of one family.
      let isIPv4 = bytes[ranges[next].lowerBound] >> 4 == 4
      var end = next
      while end < ranges.count, end - next < RawPacketSender.batch,
        (bytes[ranges[end].lowerBound] >> 4 == 4) == isIPv4
      {
        end += 1
      }
      sent += sendBatch(ranges.extracting(next..<end), of: bytes, isIPv4: isIPv4)
      next = end
    }
    return sent
  }

  private mutating func sendBatch(_ ranges: Span<Range<Int>>, of bytes: Span<UInt8>, isIPv4: Bool) -> Int {
    let descriptor = isIPv4 ? ipv4.raw : ipv6.raw
    var taken = 0
    unsafe bytes.withUnsafeBytes { packet in
      unsafe vectors.withUnsafeMutableBufferPointer { vectors in
        unsafe addresses.withUnsafeMutableBufferPointer { addresses in
          unsafe messages.withUnsafeMutableBufferPointer { messages in
            for index in ranges.indices {
              let range = ranges[index]
              unsafe vectors[index] = unsafe iovec(
                iov_base: UnsafeMutableRawPointer(mutating: packet.baseAddress! + range.lowerBound),
                iov_len: range.count)
              let destination = RawPacketSender.destination(bytes, range.lowerBound, isIPv4: isIPv4)
              unsafe addresses[index] = destination.storage
              unsafe messages[index].header.msg_name = UnsafeMutableRawPointer(addresses.baseAddress! + index)
              unsafe messages[index].header.msg_namelen = destination.length
              unsafe messages[index].header.msg_iov = vectors.baseAddress! + index
              unsafe messages[index].header.msg_iovlen = 1
            }
            var offset = 0
            while offset < ranges.count {
              let count = unsafe clinux_sendmmsg(
                descriptor, messages.baseAddress! + offset, UInt32(ranges.count - offset), Int32(MSG_DONTWAIT))
              if count > 0 {
                taken += Int(count)
                offset += Int(count)
              } else {
                offset += 1
              }
            }
          }
        }
      }
    }
    return taken
  }

  private static func destination(_ bytes: Span<UInt8>, _ start: Int, isIPv4: Bool) -> SocketAddress {
    // The port must be zero for IPv6 raw sockets (`rawv6_sendmsg`).
    if isIPv4 {
      return SocketAddress(Endpoint(IPAddress(ipv4: bytes.readUInt32(at: start + 16)), 0))
    }
    return SocketAddress(
      Endpoint(IPAddress(high: bytes.readUInt64(at: start + 24), low: bytes.readUInt64(at: start + 32)), 0))
  }
}
