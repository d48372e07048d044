// SPDX-License-Identifier: Apache-2.0

public import Handoff
public import Rules
public import Wire

/// What the driver has to do, in this order. Ranges lie in `ActionList.bytes`.
public enum Action: Sendable {
  /// Send a whole IP packet to the client by raw socket.
  case transmit(Range<Int>)
  /// Ask for a back-end and answer with `Responder.decided`. `target` is the hash of path and query, `route` what
  /// the rules say; `excluded` refused this very connection before.
  case decide(HandoffID, target: UInt64, route: Route, excluded: UInt16?)
  /// Send the connection to `backEnd` and answer with `handoffAccepted` or `handoffRefused`. `way` says how; where it may go
  /// by packet and did, answer with `handoffPassed` first.
  case handOff(HandoffID, backEnd: UInt16, snapshot: TCPSnapshot, request: Range<Int>, way: HandoffWay)
  /// The back-end may own, or come to own, a connection that moved on: it must drop it without a packet to the client. An
  /// agent to which the name says nothing ignores this.
  case abortHandoff(HandoffID, backEnd: UInt16)
  /// The connection lives at `backEnd` now: the driver puts the flow-table entry. Comes after the `.deliver` actions for the
  /// packets that were held, because with the entry the kernel sends later packets past this process.
  /// `isClosing` says that the client has closed or reset it already. `requestedAt` is when the request head was complete.
  case flowEstablished(
    HandoffID, flow: FlowTuple, clientInitialSequence: SequenceNumber, sendNext: SequenceNumber, backEnd: UInt16,
    isClosing: Bool, requestedAt: UInt64)
  /// The client of a connection that lives at a back-end has closed or reset it, in a packet that came by here: the
  /// driver marks the flow-table entry, as the kernel does for packets that it forwards itself.
  case flowClosing(HandoffID, flow: FlowTuple)
  /// Take the flow-table entry of a handoff by packet back, and answer with `flowWithdrawn`: the back-end did not say that it
  /// has the connection.
  case withdrawFlow(HandoffID, flow: FlowTuple, clientInitialSequence: SequenceNumber)
  /// The kernel has handed this connection off and entered its flow: the driver does its own part of the book-keeping.
  case handedOff(LeasedHandoff, flow: FlowTuple)
  /// A flow that the kernel entered stands for no connection: the driver takes the entry back and forgets it.
  case disownFlow(HandoffID, flow: FlowTuple, clientInitialSequence: SequenceNumber)
  /// Forward a packet of the client to `backEnd` as it is.
  case deliver(Range<Int>, backEnd: UInt16)
  /// A decision counted the connection at this back-end, and it did not go there: the dispatcher must uncount it.
  case returnAssignment(UInt16)
  /// A segment of no connection that the core knows. If the flow table knows it the driver forwards it, otherwise it calls
  /// `Responder.refuseUnknown` with these bytes.
  case unknownFlow(Range<Int>)
}

/// How a handoff may travel.
public enum HandoffWay: Hashable, Sendable, BitwiseCopyable {
  /// As a message on the control connection, or as one packet to the node's kernel.
  case packetOrMessage
  case message
  /// As a message, after a packet of which the back-end did not say that it has made a connection of it.
  case messageAfterPacket
}

/// The actions of one or more calls and the bytes they refer to. The driver keeps one and empties it between turns; both
/// arrays stay at their high-water mark, so that nothing is allocated in steady state.
public struct ActionList: Sendable {
  public private(set) var actions: [Action]
  /// Longer than what is in use; only ranges that actions name have a meaning.
  public private(set) var bytes: [UInt8]
  private var used = 0

  public init() {
    actions = []
    actions.reserveCapacity(256)
    bytes = Array(repeating: 0, count: 256 << 10)
  }

  public mutating func removeAll() {
    actions.removeAll(keepingCapacity: true)
    used = 0
  }

  mutating func append(_ action: Action) { actions.append(action) }

  /// Makes room for `count` bytes and returns where they are.
  private mutating func reserve(_ count: Int) -> Range<Int> {
    let range = used..<used + count
    if range.upperBound > bytes.count {
      bytes.append(contentsOf: repeatElement(0, count: max(bytes.count, range.upperBound - bytes.count)))
    }
    used = range.upperBound
    return range
  }

  /// Copies `source` into the arena.
  mutating func store(_ source: Span<UInt8>) -> Range<Int> {
    let range = reserve(source.count)
    var all = bytes.mutableSpan
    ByteCopy.copy(source, to: &all, at: range.lowerBound)
    return range
  }

  /// Builds a packet in the arena.
  mutating func store(_ segment: TCPSegment, payload: Span<UInt8>) -> Range<Int> {
    let range = reserve(segment.headerLength + payload.count)
    var all = bytes.mutableSpan
    var destination = all._mutatingExtracting(range)
    _ = segment.emit(payload: payload, into: &destination)
    return range
  }
}

enum ByteCopy {
  /// Copies all of `source` to `offset` of `destination`; the caller has made room.
  @inline(__always)
  static func copy(_ source: Span<UInt8>, to destination: inout MutableSpan<UInt8>, at offset: Int) {
    precondition(offset >= 0 && destination.count - offset >= source.count, "the caller sized the destination")
    for index in source.indices { destination[offset + index] = source[index] }
  }
}
