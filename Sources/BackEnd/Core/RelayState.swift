// SPDX-License-Identifier: Apache-2.0

/// The two connections of a relay.
public enum Side: UInt8, Hashable, Sendable, BitwiseCopyable, CaseIterable {
  case client = 0
  case server = 1

  @inlinable
  public var other: Side { self == .client ? .server : .client }
}

/// How a connection ended; each ends in exactly one way.
public enum RelayEnd: UInt8, Hashable, Sendable, BitwiseCopyable, CaseIterable {
  /// Both sides closed, the client first.
  case clientClosedFirst
  /// Both sides closed, the server first.
  case serverClosedFirst
  case clientReset
  case serverReset
  /// Nothing moved for the idle time.
  case idleTimeout
  /// The server had closed and the client did not within the half-closed time. Everything was passed on.
  case halfClosedTimeout
  /// The distributor gave the handoff up, or the client opened a new connection with the same 4-tuple.
  case aborted
  /// Still open when the drain time of a stopping agent was over.
  case drained
  /// The client no longer answered and the kernel gave up. Direct connections only.
  case timedOut
  /// The end was not seen when it came but found when the agent compared its table with the kernel's. Direct connections
  /// only.
  case unobserved

  /// The client has sent FIN or RST, or will: it has its server's FIN. So distributors see that it is over by themselves.
  public var isByClient: Bool {
    switch self {
    case .clientClosedFirst, .serverClosedFirst, .clientReset: true
    case .serverReset, .idleTimeout, .halfClosedTimeout, .aborted, .drained, .timedOut, .unobserved: false
    }
  }
}

/// One relayed connection: what to do when a side delivers bytes, ends or fails. Pure: the driver reads, writes and closes.
///
/// A direction is named by the side that its bytes come from. A direction whose sink does not take everything holds the
/// rest and is not read from until the rest is gone: that is the back-pressure.
public struct RelayState: Hashable, Sendable, BitwiseCopyable {
  /// Where one direction stands.
  public enum Direction: Hashable, Sendable, BitwiseCopyable {
    /// Bytes flow; `held` bytes were read and not yet taken by the sink.
    case open(held: UInt32)
    /// The source ended; `held` bytes are to be written before the end is passed on.
    case ending(held: UInt32)
    /// The end was passed on.
    case ended
  }

  public enum Event: Hashable, Sendable, BitwiseCopyable {
    /// `count` bytes were read from a side and the other took `written` of them.
    case moved(from: Side, count: Int, written: Int)
    /// The sink of this direction took `written` of the bytes held.
    case flushed(from: Side, written: Int)
    /// A side sent FIN and all before it was read.
    case endOfStream(Side)
    /// A side was reset, or its connection timed out.
    case failed(Side)
  }

  public enum Action: Hashable, Sendable, BitwiseCopyable {
    /// Read from this side until it is dry.
    case read(Side)
    /// Keep what the sink did not take and wait until it is writable.
    case hold(Side)
    /// Pass the end on: FIN to this side.
    case shutdown(Side)
    /// Close both sides in the normal way.
    case close(RelayEnd)
    /// Close both sides; the one that did not fail with a reset, so that nothing cut short looks complete.
    case reset(RelayEnd)
  }

  public private(set) var fromClient = Direction.open(held: 0)
  public private(set) var fromServer = Direction.open(held: 0)
  /// The side that ended first.
  public private(set) var firstEnd: Side?

  @inlinable
  public init() {}

  /// True while reading from `side` is allowed.
  public func mayRead(_ side: Side) -> Bool { self[side] == .open(held: 0) }

  /// Bytes of this direction that wait for their sink.
  public func held(_ side: Side) -> Int {
    switch self[side] {
    case .open(let held), .ending(let held): Int(held)
    case .ended: 0
    }
  }

  /// The server closed and has nothing more to say; only the client's end is missing.
  public var waitsForClientOnly: Bool { fromServer == .ended && firstEnd == .server }

  public mutating func handle(_ event: Event) -> Action {
    switch event {
    case .moved(let side, let count, let written):
      // Reading while bytes are held would overtake them.
      precondition(mayRead(side) && written <= count)
      let held = count - written
      self[side] = .open(held: UInt32(clamping: held))
      return held > 0 ? .hold(side) : .read(side)
    case .flushed(let side, let written):
      let left = max(0, held(side) - written)
      switch self[side] {
      case .open:
        self[side] = .open(held: UInt32(clamping: left))
        return left > 0 ? .hold(side) : .read(side)
      case .ending:
        if left == 0 { return passEnd(of: side) }
        self[side] = .ending(held: UInt32(clamping: left))
        return .hold(side)
      case .ended: return .hold(side)
      }
    case .endOfStream(let side):
      if firstEnd == nil { firstEnd = side }
      let left = held(side)
      if left == 0 { return passEnd(of: side) }
      self[side] = .ending(held: UInt32(clamping: left))
      return .hold(side)
    case .failed(let side):
      return .reset(side == .client ? .clientReset : .serverReset)
    }
  }

  private mutating func passEnd(of side: Side) -> Action {
    self[side] = .ended
    guard self[side.other] == .ended else { return .shutdown(side.other) }
    return .close(firstEnd == .server ? .serverClosedFirst : .clientClosedFirst)
  }

  private subscript(side: Side) -> Direction {
    get { side == .client ? fromClient : fromServer }
    set { if side == .client { fromClient = newValue } else { fromServer = newValue } }
  }
}
