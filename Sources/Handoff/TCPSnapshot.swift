// SPDX-License-Identifier: Apache-2.0

public import Wire

/// What a node must know to continue a TCP connection (the TCB of RFC 9293 section 3.3.1, as far as TCP_REPAIR and
/// `bpf_sk_assign_tcp_reqsk` take it). Taken at a moment when nothing that we sent is unacknowledged.
public struct TCPSnapshot: Hashable, Sendable, BitwiseCopyable {
  public var flow: FlowTuple
  /// snd.nxt, equal to snd.una.
  public var sendNext: SequenceNumber
  /// rcv.nxt: the number after the last request byte that travels with the snapshot.
  public var receiveNext: SequenceNumber
  /// The client's initial sequence number; tells a duplicate of the connection's own SYN from a new connection.
  public var clientInitialSequence: SequenceNumber
  /// snd.wnd in bytes, already scaled.
  public var sendWindow: UInt32
  /// rcv.wnd in bytes that the client was last told, counted from `receiveNext`.
  public var receiveWindow: UInt32
  /// The MSS that the client announced, in bytes (536 when it announced none, RFC 9293 section 3.7.1).
  public var maximumSegmentSize: UInt16
  /// Window scaling, nil when not negotiated by both sides.
  public var windowScale: WindowScale?
  public var sackPermitted: Bool
  /// Timestamps, nil when not negotiated by both sides.
  public var timestamps: Timestamps?

  /// The two shifts of RFC 7323 section 2.
  public struct WindowScale: Hashable, Sendable, BitwiseCopyable {
    /// The shift of windows that the client announces.
    public var send: UInt8
    /// The shift of windows that we announce.
    public var receive: UInt8

    @inlinable
    public init(send: UInt8, receive: UInt8) {
      self.send = send
      self.receive = receive
    }
  }

  public struct Timestamps: Hashable, Sendable, BitwiseCopyable {
    /// The least TSval that the next owner may send; one tick is 1 ms.
    public var nextValue: UInt32
    /// ts.recent, the client's last TSval (RFC 7323 section 4.3).
    public var recent: UInt32

    @inlinable
    public init(nextValue: UInt32, recent: UInt32) {
      self.nextValue = nextValue
      self.recent = recent
    }
  }

  @inlinable
  public init(
    flow: FlowTuple, sendNext: SequenceNumber, receiveNext: SequenceNumber, clientInitialSequence: SequenceNumber,
    sendWindow: UInt32, receiveWindow: UInt32, maximumSegmentSize: UInt16, windowScale: WindowScale?,
    sackPermitted: Bool, timestamps: Timestamps?
  ) {
    self.flow = flow
    self.sendNext = sendNext
    self.receiveNext = receiveNext
    self.clientInitialSequence = clientInitialSequence
    self.sendWindow = sendWindow
    self.receiveWindow = receiveWindow
    self.maximumSegmentSize = maximumSegmentSize
    self.windowScale = windowScale
    self.sackPermitted = sackPermitted
    self.timestamps = timestamps
  }
}
