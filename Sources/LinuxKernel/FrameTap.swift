// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// A packet(7) socket on one interface that sees and sends whole frames: for wires, captures and counters of the lab.
public struct FrameTap: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor

  /// SOL_PACKET and PACKET_OUTGOING of linux/socket.h and linux/if_packet.h.
  private static let packetLevel: Int32 = 263
  private static let outgoing: UInt8 = 4

  public enum Direction: Sendable {
    /// From the network to this interface.
    case received
    /// From this interface to the network.
    case sent
  }

  /// Non-blocking. Needs CAP_NET_RAW in the calling thread's network namespace.
  ///
  /// - Parameters:
  ///   - filter: a classic BPF program that sees the frame from its Ethernet header on; empty: all frames.
  ///   - receiveBuffer: bytes, forced past the system's limit.
  public init(
    interface: String, filter: [FilterInstruction] = [], receiveBuffer: Int32 = 8 << 20
  ) throws(SystemError) {
    let index = unsafe if_nametoindex(interface)
    guard index != 0 else { throw SystemError("if_nametoindex", interface, errno: ENODEV) }
    let type = Int32(SOCK_RAW.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    // Protocol 0: nothing is received before the filter stands and the socket is bound.
    let own = OwnedDescriptor(owning: try Syscall.call("socket(AF_PACKET)") { socket(AF_PACKET, type, 0) })
    let raw = own.raw
    if !filter.isEmpty { try FrameTap.attach(filter, to: raw) }
    try SocketOption.set(raw, SOL_SOCKET, SO_RCVBUFFORCE, receiveBuffer)
    var address = sockaddr_ll()
    address.sll_family = UInt16(AF_PACKET)
    address.sll_protocol = UInt16(ETH_P_ALL).bigEndian
    address.sll_ifindex = Int32(index)
    do {
      _ = try Syscall.call("bind") {
        unsafe withUnsafePointer(to: &address) {
          unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            unsafe bind(raw, $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
          }
        }
      }
    } catch {
      throw error.on(interface)
    }
    descriptor = own
  }

  public var raw: Int32 { descriptor.raw }

  /// One frame into `buffer`: its length, which is the buffer's when it was cut, and its direction. Nil when none waits.
  public func receive(into buffer: inout [UInt8]) throws(SystemError) -> (count: Int, direction: Direction)? {
    let raw = descriptor.raw
    var address = sockaddr_ll()
    var length = socklen_t(MemoryLayout<sockaddr_ll>.size)
    let count = try Syscall.callUnlessBlocked("recvfrom") {
      unsafe withUnsafeMutablePointer(to: &address) { address in
        unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
          unsafe buffer.withUnsafeMutableBytes {
            unsafe recvfrom(raw, $0.baseAddress, $0.count, 0, address, &length)
          }
        }
      }
    }
    guard let count else { return nil }
    return (count, address.sll_pkttype == FrameTap.outgoing ? .sent : .received)
  }

  /// Sends one frame; false when the interface's queue is full.
  public func send(_ frame: Span<UInt8>) throws(SystemError) -> Bool {
    let raw = descriptor.raw
    do {
      let count = try Syscall.callUnlessBlocked("send") {
        unsafe frame.withUnsafeBytes { unsafe Glibc.send(raw, $0.baseAddress, $0.count, 0) }
      }
      return count != nil
    } catch  where error.errno == ENOBUFS {
      return false
    }
  }

  /// Frames that did not fit in the receive buffer since the last call.
  public func lostFrames() -> UInt32 {
    var statistics = tpacket_stats()
    var length = socklen_t(MemoryLayout<tpacket_stats>.size)
    unsafe getsockopt(raw, FrameTap.packetLevel, Int32(PACKET_STATISTICS), &statistics, &length)
    return statistics.tp_drops
  }

  private static func attach(_ filter: [FilterInstruction], to raw: Int32) throws(SystemError) {
    var instructions = filter.map { sock_filter(code: $0.code, jt: $0.jumpTrue, jf: $0.jumpFalse, k: $0.value) }
    _ = try unsafe instructions.withUnsafeMutableBufferPointer { buffer throws(SystemError) in
      var program = unsafe sock_fprog(len: UInt16(buffer.count), filter: buffer.baseAddress)
      return try Syscall.call("setsockopt(SO_ATTACH_FILTER)") {
        unsafe setsockopt(raw, SOL_SOCKET, SO_ATTACH_FILTER, &program, socklen_t(MemoryLayout<sock_fprog>.size))
      }
    }
  }
}

/// One instruction of classic BPF (linux/filter.h).
public struct FilterInstruction: Hashable, Sendable, BitwiseCopyable {
  public var code: UInt16
  public var jumpTrue: UInt8
  public var jumpFalse: UInt8
  public var value: UInt32

  public init(_ code: UInt16, _ value: UInt32, jumpTrue: UInt8 = 0, jumpFalse: UInt8 = 0) {
    self.code = code
    self.value = value
    self.jumpTrue = jumpTrue
    self.jumpFalse = jumpFalse
  }
}
