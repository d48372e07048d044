// SPDX-License-Identifier: Apache-2.0

public import Handoff
public import Wire

/// What the kernel does with a handed-off flow's packets, and what it has seen of them.
public struct FlowEntry: Hashable, Sendable, BitwiseCopyable {
  public enum Action: Hashable, Sendable, BitwiseCopyable {
    /// Send the frame out of the interface that it came in by, to this address.
    case forward(to: MACAddress)
    /// Let it pass to this node's own TCP, marked with the configuration's `localMark`.
    case deliverLocally
    /// Send the packet to a node on another network, by this entry of the `TunnelTable`.
    case tunnel(UInt16)
  }

  /// What the client has sent, and the connection's end. The kernel sets these; they are never cleared while the entry lives.
  public struct Seen: OptionSet, Hashable, Sendable, BitwiseCopyable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let fin = Seen(rawValue: 1)
    public static let rst = Seen(rawValue: 2)
    /// Not the client but the back-end said that the connection is over.
    public static let ended = Seen(rawValue: 4)
    /// The client has acknowledged bytes of the back-end: it has begun to answer.
    public static let acknowledged = Seen(rawValue: 8)
  }

  public var action: Action
  /// The sequence number of the client's SYN: a SYN with another one is a new connection.
  public var clientISN: SequenceNumber
  public var handoff: HandoffID
  /// Names the back-end for `FlowTable.removeAll(backEnd:)`; the distributor chooses the numbers.
  public var backEnd: UInt16
  public var seen: Seen
  /// The lower half of snd.nxt at the handoff: what the client acknowledges before the back-end has sent anything.
  public var sendNext: UInt16
  /// Nanoseconds of `MonotonicTime`: when the entry was made or its latest packet came, as coarse as the kernel's tick.
  public var lastSeen: UInt64

  @inlinable
  public init(
    action: Action, clientISN: SequenceNumber, handoff: HandoffID, backEnd: UInt16, now: UInt64, seen: Seen = [],
    sendNext: UInt16 = 0
  ) {
    self.action = action
    self.clientISN = clientISN
    self.handoff = handoff
    self.backEnd = backEnd
    self.seen = seen
    self.sendNext = sendNext
    self.lastSeen = now
  }
}
