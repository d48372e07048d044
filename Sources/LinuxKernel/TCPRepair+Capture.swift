// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Wire

extension TCPRepair {
  /// Reads the state of an established connection, entering repair mode: the socket is frozen from then on, to be closed
  /// by `closeSilently` or thawed by `thaw`. Both queues must be empty for `restore` to continue it without loss.
  ///
  /// - Throws: `SystemError` of the call that failed; EPERM without CAP_NET_ADMIN or when the socket is not established.
  public static func capture(_ socket: borrowing StreamSocket) throws(SystemError) -> Connection {
    let raw = socket.raw
    try set(raw, clinux_TCP_REPAIR, 1)
    let information = try TCPInformation(of: raw)
    var window = InlineArray<5, UInt32>(repeating: 0)
    var windowSpan = window.mutableSpan
    _ = try SocketOption.get(
      raw, Int32(IPPROTO_TCP), Int32(clinux_TCP_REPAIR_WINDOW), words: &windowSpan)
    let timestamps = information.options.contains(.timestamps)
    let clock = try SocketOption.get(raw, Int32(IPPROTO_TCP), Int32(clinux_TCP_TIMESTAMP))
    let maximumSegment = try SocketOption.get(raw, Int32(IPPROTO_TCP), TCP_MAXSEG)
    return Connection(
      local: try socket.localEndpoint(), remote: try socket.remoteEndpoint(),
      sendNext: try sequence(raw, queue: sendQueue), receiveNext: try sequence(raw, queue: receiveQueue),
      sendWindow: window[1], receiveWindow: window[3],
      // In repair mode this is the peer's option; otherwise it has the 12 bytes of the timestamps option taken off.
      maximumSegmentSize: UInt16(clamping: maximumSegment),
      sendShift: information.sendShift, receiveShift: information.receiveShift,
      sackPermitted: information.options.contains(.sackPermitted),
      timestamp: timestamps ? UInt32(bitPattern: clock) : nil)
  }

  /// Leaves repair mode after `capture` without any packet.
  public static func thaw(_ socket: borrowing StreamSocket) throws(SystemError) {
    try set(socket.raw, clinux_TCP_REPAIR, leaveWithoutProbe)
  }

  /// The number after the last byte of a queue; equal to snd.una or rcv.nxt when the queue is empty.
  private static func sequence(_ raw: Int32, queue: Int32) throws(SystemError) -> SequenceNumber {
    try set(raw, clinux_TCP_REPAIR_QUEUE, queue)
    let value = try SocketOption.get(raw, Int32(IPPROTO_TCP), Int32(clinux_TCP_QUEUE_SEQ))
    return SequenceNumber(UInt32(bitPattern: value))
  }
}

/// The parts of TCP_INFO (`struct tcp_info`, linux/tcp.h) that this cluster reads.
public struct TCPInformation: Hashable, Sendable, BitwiseCopyable {
  public var state: TCPState
  public var options: Options
  public var sendShift: UInt8
  public var receiveShift: UInt8
  /// Bytes of payload in a full segment that we send.
  public var sendSegmentSize: UInt32
  public var retransmissions: UInt32

  /// TCPI_OPT_*.
  public struct Options: OptionSet, Hashable, Sendable, BitwiseCopyable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let timestamps = Options(rawValue: 1)
    public static let sackPermitted = Options(rawValue: 2)
    public static let windowScale = Options(rawValue: 4)
  }

  public init(of socket: Int32) throws(SystemError) {
    // 104 bytes are the struct as it was in Linux 2.6; the kernel truncates to what is asked for.
    var words = InlineArray<26, UInt32>(repeating: 0)
    var span = words.mutableSpan
    _ = try SocketOption.get(socket, Int32(IPPROTO_TCP), TCP_INFO, words: &span)
    let first = words[0].littleEndian
    let second = words[1].littleEndian
    state = TCPState(rawValue: UInt8(truncatingIfNeeded: first)) ?? .close
    options = Options(rawValue: UInt8(truncatingIfNeeded: second >> 8))
    sendShift = UInt8(truncatingIfNeeded: second >> 16) & 15
    receiveShift = UInt8(truncatingIfNeeded: second >> 20) & 15
    sendSegmentSize = words[4]
    retransmissions = words[25]
  }
}

/// TCP states as the kernel numbers them (include/net/tcp_states.h).
public enum TCPState: UInt8, Hashable, Sendable, BitwiseCopyable {
  case established = 1
  case synSent, synReceived, finWait1, finWait2, timeWait, close, closeWait, lastAck, listen, closing, newSynReceived
}
