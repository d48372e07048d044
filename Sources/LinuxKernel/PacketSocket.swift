// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
public import Wire

/// Sends whole IP packets to an Ethernet address of one link (packet(7)), past routing and netfilter: how a distributor
/// gives a back-end the packets that it held during a handoff.
///
/// Any thread may send. The socket receives nothing.
public struct PacketSocket: ~Copyable, Sendable {
  /// What became of a packet.
  public enum Outcome: Hashable, Sendable {
    case sent
    /// The socket's or the device's queue is full; nothing was sent. The client retransmits, or the caller tries again.
    case wouldBlock
    /// Neither IPv4 nor IPv6; nothing was sent.
    case notIP
  }

  private let descriptor: OwnedDescriptor
  private let interface: Int32

  /// A socket for the interface of this index in the calling thread's network namespace. Needs CAP_NET_RAW.
  public init(interface index: UInt32) throws(SystemError) {
    interface = Int32(bitPattern: index)
    descriptor = try PacketSocket.open(boundTo: interface)
  }

  private static func open(boundTo interface: Int32) throws(SystemError) -> OwnedDescriptor {
    let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    // Protocol 0: no packet is copied to the socket, not even between `socket` and `bind`.
    let descriptor = OwnedDescriptor(owning: try Syscall.call("socket(AF_PACKET)") { socket(AF_PACKET, type, 0) })
    var address = PacketSocket.address(interface, protocol: 0, nil)
    let raw = descriptor.raw
    do {
      _ = try Syscall.call("bind") { unsafe withPointer(&address) { unsafe bind(raw, $0, $1) } }
    } catch {
      throw error.on("interface \(interface)")
    }
    return descriptor
  }

  /// Sends `packet`, which begins with its IP header and has its checksums filled in, from the interface's own Ethernet
  /// address to `mac`.
  ///
  /// - Throws: EMSGSIZE for a packet above the interface's MTU, ENETDOWN while the interface is down, ENXIO or ENODEV when
  ///   it is gone.
  public func send(_ packet: Span<UInt8>, to mac: MACAddress) throws(SystemError) -> Outcome {
    guard !packet.isEmpty else { return .notIP }
    let type: UInt16
    switch packet[0] >> 4 {
    case 4: type = UInt16(ETH_P_IP)
    case 6: type = UInt16(ETH_P_IPV6)
    default: return .notIP
    }
    var address = PacketSocket.address(interface, protocol: type, mac)
    let raw = descriptor.raw
    do {
      let count = try Syscall.callUnlessBlocked("sendto(AF_PACKET)") {
        unsafe packet.withUnsafeBytes { bytes in
          unsafe PacketSocket.withPointer(&address) {
            unsafe sendto(raw, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL), $0, $1)
          }
        }
      }
      return count == nil ? .wouldBlock : .sent
    } catch  where error.errno == ENOBUFS {
      return .wouldBlock
    }
  }

  private static func address(_ interface: Int32, protocol type: UInt16, _ mac: MACAddress?) -> sockaddr_ll {
    var address = sockaddr_ll()
    address.sll_family = UInt16(AF_PACKET)
    address.sll_protocol = type.bigEndian
    address.sll_ifindex = interface
    if let mac {
      address.sll_halen = 6
      address.sll_addr = (mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], 0, 0)
    }
    return address
  }

  private static func withPointer<Result>(
    _ address: inout sockaddr_ll, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
  ) -> Result {
    unsafe withUnsafePointer(to: &address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe body($0, socklen_t(MemoryLayout<sockaddr_ll>.size))
      }
    }
  }
}
