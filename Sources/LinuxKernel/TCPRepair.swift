// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
public import Wire

/// TCP_REPAIR (`do_tcp_setsockopt` of net/ipv4/tcp.c): builds an established connection without a handshake, and ends one
/// without a packet. Needs CAP_NET_ADMIN in the network namespace.
public enum TCPRepair {
  /// A step of `restore`, in the order in which they run.
  public enum Step: UInt8, Hashable, Sendable, CaseIterable {
    case socket, enter, segmentSize, sendSequence, receiveSequence, bind, connect, options, timestamp, window, leave
    case reuseAddress
  }

  /// The step that the kernel did not take, and its answer.
  public struct Failure: Error, Hashable, Sendable {
    public var step: Step
    public var error: SystemError

    public init(step: Step, error: SystemError) {
      self.step = step
      self.error = error
    }
  }

  /// Everything that the kernel takes of a connection whose send queue is empty.
  public struct Connection: Hashable, Sendable, BitwiseCopyable {
    public var local: Endpoint
    public var remote: Endpoint
    /// snd.nxt and snd.una.
    public var sendNext: SequenceNumber
    /// rcv.nxt: everything before it was read already.
    public var receiveNext: SequenceNumber
    /// snd.wnd in bytes, scaled.
    public var sendWindow: UInt32
    /// rcv.wnd in bytes.
    public var receiveWindow: UInt32
    /// The MSS option of the peer: not lowered by the space for timestamps.
    public var maximumSegmentSize: UInt16
    /// Shift of the windows that the peer announces; 0 without window scaling.
    public var sendShift: UInt8
    /// Shift of the windows that we announce; 0 without window scaling.
    public var receiveShift: UInt8
    public var sackPermitted: Bool
    /// The least TSval to send next, in ms; nil without timestamps.
    public var timestamp: UInt32?

    public init(
      local: Endpoint, remote: Endpoint, sendNext: SequenceNumber, receiveNext: SequenceNumber, sendWindow: UInt32,
      receiveWindow: UInt32, maximumSegmentSize: UInt16, sendShift: UInt8, receiveShift: UInt8, sackPermitted: Bool,
      timestamp: UInt32?
    ) {
      self.local = local
      self.remote = remote
      self.sendNext = sendNext
      self.receiveNext = receiveNext
      self.sendWindow = sendWindow
      self.receiveWindow = receiveWindow
      self.maximumSegmentSize = maximumSegmentSize
      self.sendShift = sendShift
      self.receiveShift = receiveShift
      self.sackPermitted = sackPermitted
      self.timestamp = timestamp
    }
  }

  /// Creates the established socket; no packet leaves. The local address must be one of the node.
  ///
  /// - Throws: `Failure`. EADDRNOTAVAIL at `.bind` means that the address is not local, at `.connect` that the 4-tuple is
  ///   taken (TIME_WAIT included); EMFILE or ENFILE at `.socket`; EPERM at `.enter` without CAP_NET_ADMIN.
  public static func restore(_ connection: Connection) throws(Failure) -> StreamSocket {
    let socket = try step(.socket) { () throws(SystemError) in
      try StreamSocket(familyOf: connection.local.address)
    }
    let raw = socket.raw
    try step(.enter) { () throws(SystemError) in try set(raw, clinux_TCP_REPAIR, 1) }
    try step(.segmentSize) { () throws(SystemError) in
      try setSegmentSize(raw, connection.maximumSegmentSize)
    }
    try step(.sendSequence) { () throws(SystemError) in
      try setSequence(raw, queue: sendQueue, connection.sendNext)
    }
    try step(.receiveSequence) { () throws(SystemError) in
      try setSequence(raw, queue: receiveQueue, connection.receiveNext)
    }
    // Repair forces address reuse: a listener at the same address and port is no obstacle.
    try step(.bind) { () throws(SystemError) in try socket.bind(to: connection.local) }
    try step(.connect) { () throws(SystemError) in try socket.connect(to: connection.remote) }
    try step(.options) { () throws(SystemError) in try setOptions(raw, connection) }
    if let timestamp = connection.timestamp {
      // Bit 0 would choose a microsecond clock (tcp_usec_ts); rounding up keeps it from going back.
      try step(.timestamp) { () throws(SystemError) in
        try set(raw, clinux_TCP_TIMESTAMP, Int32(bitPattern: (timestamp &+ 1) & ~1))
      }
    }
    try step(.window) { () throws(SystemError) in try setWindow(raw, connection) }
    try step(.leave) { () throws(SystemError) in try set(raw, clinux_TCP_REPAIR, leaveWithoutProbe) }
    // Leaving repair cleared the flag; without it a restarted web server could not bind its port while this one lives.
    try step(.reuseAddress) { () throws(SystemError) in try socket.set(SOL_SOCKET, SO_REUSEADDR, 1) }
    return socket
  }

  /// Ends a connection without any packet to the peer and without TIME_WAIT.
  public static func closeSilently(_ socket: consuming StreamSocket) {
    // A socket that does not take the option (already closed by a reset) has nothing to say either.
    try? set(socket.raw, clinux_TCP_REPAIR, 1)
  }

  /// Why TCP_REPAIR cannot be used in this network namespace, nil when it can: EPERM without CAP_NET_ADMIN, ENOPROTOOPT
  /// when the kernel lacks it (CONFIG_CHECKPOINT_RESTORE is not asked for by mainline, but kernels differ).
  public static func obstacle() -> SystemError? {
    do {
      let socket = try StreamSocket(familyOf: IPAddress(ipv4: 0))
      try set(socket.raw, clinux_TCP_REPAIR, 1)
      return nil
    } catch {
      return error
    }
  }

  static let receiveQueue: Int32 = 1
  static let sendQueue: Int32 = 2
  /// TCP_REPAIR_OFF_NO_WP: a window probe would cost a round trip, `setWindow` says it all.
  static let leaveWithoutProbe: Int32 = -1

  static func set(_ raw: Int32, _ option: Int, _ value: Int32) throws(SystemError) {
    try SocketOption.set(raw, Int32(IPPROTO_TCP), Int32(option), value)
  }

  private static func setSequence(
    _ raw: Int32, queue: Int32, _ number: SequenceNumber
  ) throws(SystemError) {
    try set(raw, clinux_TCP_REPAIR_QUEUE, queue)
    try set(raw, clinux_TCP_QUEUE_SEQ, Int32(bitPattern: number.rawValue))
  }

  private static func setOptions(_ raw: Int32, _ connection: Connection) throws(SystemError) {
    // struct tcp_repair_opt: option kind (tcp(7) numbers) and value. Window scaling is always given: connect chose a
    // receive shift of its own, which would stay in force for a peer that did not negotiate any.
    let scale = UInt32(connection.sendShift) | UInt32(connection.receiveShift) << 16
    let options: InlineArray<6, UInt32> = [3, scale, connection.timestamp != nil ? 8 : 4, 0, 4, 0]
    // The last one is SACK permitted; without timestamps it takes their place.
    let count = 1 + (connection.timestamp != nil ? 1 : 0) + (connection.sackPermitted ? 1 : 0)
    try SocketOption.set(
      raw, Int32(IPPROTO_TCP), Int32(clinux_TCP_REPAIR_OPTIONS), words: options.span.extracting(first: count * 2))
  }

  /// As TCP_MAXSEG before connect, which makes it the clamp that connect computes with (`tcp_connect_init`). The same value
  /// by TCP_REPAIR_OPTIONS, after connect, leaves the cached MSS at 524 bytes (IPv6: 1208) for some round trips.
  private static func setSegmentSize(_ raw: Int32, _ size: UInt16) throws(SystemError) {
    // TCP_MIN_MSS: the kernel never goes below it.
    try set(raw, Int(TCP_MAXSEG), Int32(max(88, min(size, 32_767))))
  }

  private static func setWindow(_ raw: Int32, _ connection: Connection) throws(SystemError) {
    // struct tcp_repair_window: snd_wl1, snd_wnd, max_window, rcv_wnd, rcv_wup. The kernel wants rcv_wup <= rcv_nxt and
    // max_window >= snd_wnd.
    let window: InlineArray<5, UInt32> = [
      connection.receiveNext.rawValue, connection.sendWindow, connection.sendWindow, connection.receiveWindow,
      connection.receiveNext.rawValue,
    ]
    try SocketOption.set(raw, Int32(IPPROTO_TCP), Int32(clinux_TCP_REPAIR_WINDOW), words: window.span)
  }

  private static func step<Result: ~Copyable>(
    _ step: Step, _ body: () throws(SystemError) -> Result
  ) throws(Failure) -> Result {
    do {
      return try body()
    } catch {
      throw Failure(step: step, error: error)
    }
  }
}

extension SocketOption {
  /// setsockopt with several 32-bit words.
  static func set(_ raw: Int32, _ level: Int32, _ option: Int32, words: Span<UInt32>) throws(SystemError) {
    _ = try Syscall.call("setsockopt") {
      unsafe words.withUnsafeBytes { unsafe setsockopt(raw, level, option, $0.baseAddress, socklen_t($0.count)) }
    }
  }

  /// getsockopt with several 32-bit words; returns how many bytes the kernel gave.
  static func get(
    _ raw: Int32, _ level: Int32, _ option: Int32, words: inout MutableSpan<UInt32>
  ) throws(SystemError) -> Int {
    var length = socklen_t(words.count * 4)
    _ = try Syscall.call("getsockopt") {
      unsafe words.withUnsafeMutableBytes { unsafe getsockopt(raw, level, option, $0.baseAddress, &length) }
    }
    return Int(length)
  }
}
