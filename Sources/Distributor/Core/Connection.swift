// SPDX-License-Identifier: Apache-2.0

internal import HTTPHead
internal import Handoff
internal import Rules
internal import Wire

/// One entry of the connection table. Trivially copyable: buffers and held packets are handles into pools.
struct Connection: BitwiseCopyable {
  var flow: FlowTuple
  /// The table hash of `flow`.
  var hash: UInt64
  /// Counts what happened in this slot; half of a `HandoffID`.
  var generation: UInt32 = 0
  /// The name that the kernel gave the handoff which it made by itself; 0 while the connection goes by the slot's own name.
  var kernelName: UInt64 = 0
  var phase: Phase = .vacant

  /// irs and iss of RFC 9293 section 3.3.1.
  var clientInitial: SequenceNumber
  var initialSequence: SequenceNumber
  var receiveNext: SequenceNumber
  /// snd.wnd in bytes, the window field that it came from, and snd.wl1.
  var sendWindow: UInt32
  var windowField: UInt16
  var windowSequence: SequenceNumber
  /// What the client announced.
  var maximumSegmentSize: UInt16
  var windowScale: TCPSnapshot.WindowScale?
  var sackPermitted: Bool
  var clock: TimestampClock?
  var clientEnd = ClientEnd.open
  /// No further challenge ACK before this time.
  var quietUntil: UInt64 = 0

  /// The received bytes, from the first after the SYN; without a buffer while there are none.
  var assembler = ReceiveAssembler()
  var buffer = BufferPool.Handle.none
  var scanner: RequestHeadScanner
  var held: HeldPackets

  /// snd.nxt as long as we send no answer.
  var sendNext: SequenceNumber { initialSequence.advanced(by: 1) }
  /// The sequence number of the first byte after the client's SYN: offset 0 of the receive buffer.
  var origin: SequenceNumber { clientInitial.advanced(by: 1) }
}

/// What a connection is doing, with what it needs for that. See `docs/design/responder.md`.
enum Phase: BitwiseCopyable {
  /// The slot is free.
  case vacant
  /// The SYN-ACK is sent; SYN-RECEIVED.
  case embryonic(retransmissions: UInt8)
  /// The request head is being received.
  case collecting
  /// A decision is awaited.
  case deciding(Attempt)
  /// A back-end is asked to take the connection.
  case handingOff(Attempt, backEnd: UInt16)
  /// The handoff was sent by packet, and the kernel forwards the client's packets already; the back-end has not said whether
  /// it has the connection.
  case passed(Attempt, backEnd: UInt16)
  /// Our answer (or only our FIN) is sent; FIN-WAIT-1, FIN-WAIT-2, CLOSING.
  case closing(Closing)
  /// With snd.nxt, for the acknowledgment of a repeated FIN.
  case timeWait(sendNext: SequenceNumber)
  /// The connection lives at this back-end.
  case tombstone(backEnd: UInt16)

  /// Phases that count as open in `ResponderCounters.open`.
  var isOpen: Bool {
    switch self {
    case .collecting, .deciding, .handingOff, .passed, .closing: true
    case .vacant, .embryonic, .timeWait, .tombstone: false
    }
  }
}

/// One attempt to place a connection.
struct Attempt: BitwiseCopyable {
  /// 1 for the first. From the first `.handOff` on the snapshot is taken: the client's packets are held.
  var number: UInt8
  /// The target hash.
  var target: UInt64
  /// What the rules say.
  var route: Route
  /// The back-end that refused last.
  var excluded: UInt16?
  /// When the head was complete; the first attempt began.
  var requestedAt: UInt64
  /// It was sent by packet, and nobody has said what became of that.
  var mayStand = false
}

/// The client's FIN.
enum ClientEnd: BitwiseCopyable {
  case open
  /// A FIN with this number came; it is not acknowledged, since the back-end's kernel has to see it.
  case announced(SequenceNumber)
  /// Acknowledged.
  case finished
}

/// Sending an answer and closing.
struct Closing: BitwiseCopyable {
  var reply: Reply
  var outcome: ConnectionOutcome
  /// Bytes of the answer, its FIN included.
  var total: Int
  /// How many of them are acknowledged, and how many were ever sent.
  var acknowledged: Int = 0
  var sent: Int = 0
  var retransmissions: UInt8 = 0
  /// When to send again what is not acknowledged.
  var retransmitAt: UInt64
  /// When to give up: first the answer, later the wait for the client's FIN.
  var giveUpAt: UInt64
}

/// What is sent before our FIN. Retransmissions render it again, so it names everything that the text depends on.
enum Reply: BitwiseCopyable {
  case nothing
  /// `date` is in seconds since 1970; nil when the driver never set the clock.
  case answer(StatusAnswer, withBody: Bool, date: UInt64?)
}

/// Our side and the client's side of the timestamps option.
struct TimestampClock: BitwiseCopyable {
  /// Added to the millisecond clock; secret per pair of addresses.
  var offset: UInt32
  /// The last TSval that we sent.
  var lastSent: UInt32
  /// ts.recent of RFC 7323 section 4.3.
  var recent: UInt32

  func value(at now: UInt64) -> UInt32 {
    let value = UInt32(truncatingIfNeeded: now / 1_000_000) &+ offset
    return TimestampClock.isOlder(value, than: lastSent) ? lastSent : value
  }

  static func isOlder(_ value: UInt32, than other: UInt32) -> Bool { Int32(truncatingIfNeeded: value &- other) < 0 }
}
