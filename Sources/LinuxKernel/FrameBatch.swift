// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Sends many frames of one length by one system call, past the interface's queueing discipline: for floods of the lab.
@safe
public struct FrameBatch: ~Copyable {
  private let tap: FrameTap
  private var messages: [clinux_mmsghdr]
  private var vectors: [iovec]
  /// Frames of one call.
  public let count: Int

  /// SOL_PACKET, PACKET_QDISC_BYPASS of linux/if_packet.h.
  private static let packetLevel: Int32 = 263
  private static let bypass: Int32 = 20

  public init(interface: String, count: Int) throws(SystemError) {
    let tap = try FrameTap(interface: interface)
    try SocketOption.set(tap.raw, FrameBatch.packetLevel, FrameBatch.bypass, 1)
    self.tap = tap
    self.count = count
    unsafe messages = unsafe Array(repeating: clinux_mmsghdr(), count: count)
    unsafe vectors = unsafe Array(repeating: iovec(), count: count)
  }

  /// Sends the first `count` frames of `length` bytes each.
  ///
  /// - Returns: how many the interface took.
  public mutating func send(_ frames: Span<UInt8>, length: Int) -> Int {
    precondition(frames.count >= count * length, "the caller made all frames")
    let (raw, count) = (tap.raw, count)
    return unsafe frames.withUnsafeBytes { bytes in
      unsafe vectors.withUnsafeMutableBufferPointer { vectors in
        unsafe messages.withUnsafeMutableBufferPointer { messages in
          for index in 0..<count {
            // SAFETY: the kernel only reads them, and all outlive the call.
            unsafe vectors[index] = unsafe iovec(
              iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress! + index * length), iov_len: length)
            unsafe messages[index].header.msg_iov = vectors.baseAddress! + index
            unsafe messages[index].header.msg_iovlen = 1
          }
          return unsafe max(0, Int(clinux_sendmmsg(raw, messages.baseAddress, UInt32(count), Int32(MSG_DONTWAIT))))
        }
      }
    }
  }
}
