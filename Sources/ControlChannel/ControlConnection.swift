// SPDX-License-Identifier: Apache-2.0

public import ControlProtocol
import Glibc
public import Handoff
public import LinuxKernel
public import Wire

/// Why a control connection is over.
public enum ControlChannelError: Error, Hashable, Sendable {
  /// The peer closed it.
  case closed
  /// The peer sent what is not a message of this protocol.
  case malformed(ControlProtocolError)
  /// The peer was silent for longer than `ControlConnection.silenceLimit`.
  case silent
  /// The peer does not read: more than `ControlConnection.queueLimit` bytes wait for it.
  case notReading
  case system(SystemError)
}

extension ControlChannelError {
  /// Nothing came from the peer's node, not even that its process is gone.
  public var isSilence: Bool {
    switch self {
    case .silent: true
    case .system(let error): [ETIMEDOUT, EHOSTUNREACH, ENETUNREACH].contains(error.errno)
    case .closed, .malformed, .notReading: false
    }
  }
}

extension ControlChannelError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .closed: "the peer closed the connection"
    case .malformed(let error): "the peer sent a malformed message (\(error))"
    case .silent: "the peer was silent for \(ControlConnection.silenceLimit / 1_000_000) ms"
    case .notReading: "the peer does not read its messages"
    case .system(let error): "\(error)"
    }
  }
}

/// One framed, non-blocking control connection; owned by one event loop.
public final class ControlConnection {
  /// A ping is queued after this time without any message sent, in nanoseconds.
  public static let pingInterval: UInt64 = 500_000_000
  /// A peer that is silent for this long is dead, in nanoseconds.
  public static let silenceLimit: UInt64 = 2_000_000_000
  /// Bytes that may wait for a peer before it counts as not reading.
  public static let queueLimit = 64 << 20

  /// Buffers of at least 16 KiB that one `receive` reads.
  private static let readsPerCall = 8

  private let socket: StreamSocket
  private var received: [UInt8]
  /// `received[parsed..<filled]` are bytes of messages that are not complete yet.
  private var parsed = 0
  private var filled = 0
  private var queued: [UInt8] = []
  private var written = 0
  private var lastReceived: UInt64
  private var lastSent: UInt64
  private var sentSinceTick = false

  public init(adopting socket: consuming StreamSocket, now: UInt64) {
    // Requests and decisions are small and urgent: Nagle's algorithm would add a round trip to them. A failure of either
    // option costs latency or a slower detection only; keep-alive messages find a dead peer anyway.
    try? socket.set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    try? socket.set(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, Int32(ControlConnection.silenceLimit / 1_000_000))
    self.socket = socket
    received = Array(repeating: 0, count: 64 << 10)
    lastReceived = now
    lastSent = now
  }

  /// Starts to connect; messages may be queued at once, and a failure shows at `receive`.
  ///
  /// - Parameter source: this node's address to connect from; nil or one of the other family: the kernel chooses.
  public static func dial(
    _ endpoint: Endpoint, from source: IPAddress? = nil, now: UInt64
  ) throws(SystemError) -> ControlConnection {
    let socket = try StreamSocket(familyOf: endpoint.address)
    do {
      // The kernel could choose a served address, which for the peer may be its own.
      if let source, source.isIPv4 == endpoint.address.isIPv4 { try socket.bind(to: Endpoint(source, 0)) }
      try socket.connect(to: endpoint)
    } catch {
      throw error.on("\(endpoint)")
    }
    return ControlConnection(adopting: socket, now: now)
  }

  public var descriptor: Int32 { socket.raw }

  /// The node's own address on this connection, known once it stands.
  public var localEndpoint: Endpoint? { try? socket.localEndpoint() }

  /// True while bytes wait that the socket did not take: register for EPOLLOUT.
  public var wantsWrite: Bool { queued.count > written }

  public var queuedBytes: Int { queued.count - written }

  /// Queues a message; nothing is written yet.
  public func send(_ message: Message) {
    message.encode(into: &queued)
    sentSinceTick = true
  }

  /// Queues a handoff straight from its parts.
  public func sendHandoff(id: HandoffID, snapshot: TCPSnapshot, request: Span<UInt8>, wasSentByPacket: Bool) {
    Message.encodeHandoff(
      id: id, snapshot: snapshot, request: request, wasSentByPacket: wasSentByPacket, into: &queued)
    sentSinceTick = true
  }

  /// Writes what the socket takes; to be called once per loop turn and when the socket becomes writable.
  public func flush() throws(ControlChannelError) {
    while wantsWrite {
      let count: Int
      do {
        // A span cannot be taken from a class's storage in place; the local shares it.
        let bytes = queued
        count = try socket.write(bytes.span.extracting(written..<bytes.count))
      } catch {
        throw .system(error)
      }
      if count == 0 {
        if queuedBytes > ControlConnection.queueLimit { throw .notReading }
        return
      }
      written += count
    }
    queued.removeAll(keepingCapacity: true)
    written = 0
  }

  /// Reads what is there, at most `readsPerCall` buffers, and gives each message in order. Pings end here. What is left
  /// makes the descriptor ready again (level-triggered), so that a peer that never pauses cannot hold the loop.
  /// - Parameter toTheEnd: the socket says that the peer has closed. All that it sent is read, and then `.closed` is thrown, so
  ///   that nobody takes the last messages for those of a peer that is there.
  public func receive(
    now: UInt64, toTheEnd: Bool = false, _ body: (consuming Message) -> Void
  ) throws(ControlChannelError) {
    var reads = 0
    while toTheEnd || reads < ControlConnection.readsPerCall {
      reads += 1
      makeRoom()
      let capacity = received.count - filled
      let result: StreamSocket.ReadResult
      do {
        result = try socket.read(into: &received, from: filled)
      } catch {
        throw .system(error)
      }
      switch result {
      case .wouldBlock: return
      case .endOfStream: throw .closed
      case .bytes(let count):
        lastReceived = now
        filled += count
        try deliver(body)
        // A short read means that the socket is dry: saves the read that would only say so.
        if count < capacity, !toTheEnd { return }
      }
    }
  }

  /// Gives every complete message in the buffer.
  private func deliver(_ body: (consuming Message) -> Void) throws(ControlChannelError) {
    do throws(ControlProtocolError) {
      let bytes = received
      while let header = try FrameHeader.parse(bytes.span.extracting(parsed..<filled)) {
        let end = parsed + header.frameLength
        if end > filled { return }
        let message = try Message.decode(
          type: header.type, body: bytes.span.extracting(parsed + FrameHeader.length..<end))
        parsed = end
        if case .ping = message { continue }
        body(message)
      }
    } catch {
      throw .malformed(error)
    }
  }

  /// Moves the incomplete rest to the front and grows the buffer when one message needs more; bounded by the protocol's
  /// largest body.
  private func makeRoom() {
    if parsed == filled {
      parsed = 0
      filled = 0
    } else if parsed > 0 {
      for index in 0..<(filled - parsed) { received[index] = received[parsed + index] }
      filled -= parsed
      parsed = 0
    }
    if received.count - filled < 16 << 10 {
      received.append(contentsOf: repeatElement(0, count: received.count))
    }
  }

  /// Whether the peer has said nothing for so long that it is taken for dead. What is unread then came while this process was
  /// stopped or cut off, and its peer has given it up as well.
  public func isSilent(now: UInt64) -> Bool { now >= lastReceived + ControlConnection.silenceLimit }

  /// Queues a ping when nothing was sent for a while.
  ///
  /// - Returns: when to call again, in nanoseconds.
  /// - Throws: `.silent` when the peer said nothing for `silenceLimit`.
  public func keepAlive(now: UInt64) throws(ControlChannelError) -> UInt64 {
    if isSilent(now: now) { throw .silent }
    if sentSinceTick {
      sentSinceTick = false
      lastSent = now
    } else if now >= lastSent + ControlConnection.pingInterval {
      send(.ping)
      sentSinceTick = false
      lastSent = now
    }
    return min(lastSent + ControlConnection.pingInterval, lastReceived + ControlConnection.silenceLimit)
  }
}
