// SPDX-License-Identifier: Apache-2.0

public import Wire

/// How handoffs travel from a distributor to a server node.
public enum HandoffPath: String, Hashable, Sendable, CaseIterable {
  /// As one packet to the node's kernel where request and node allow it, else as a message to its agent.
  case auto
  /// As messages alone.
  case message
}

/// The key of the tags of handoffs by packet: drawn by an agent when it starts, told to distributors over their control
/// connections.
public struct HandoffPacketKey: Hashable, Sendable, BitwiseCopyable {
  public var first: UInt64
  public var second: UInt64

  @inlinable
  public init(_ first: UInt64, _ second: UInt64) {
    self.first = first
    self.second = second
  }
}

/// A handoff in one UDP datagram: a header and, behind it, the request as the segment that brings it to the web server's
/// listener. The node's kernel takes it by itself (`docs/design/packet-handoff.md`).
///
/// Header, big-endian: version 1, flags 1 (1 window scale, 2 SACK, 4 timestamps), send shift 1, receive shift 1, MSS 2,
/// loop 1, zero 1, origin 8, handoff 8, ts.recent 4, next TSval 4, tag 8. The C side is handoff_packet.h.
public struct HandoffPacket: Hashable, Sendable, BitwiseCopyable {
  /// The distributor's worker, see `HandoffOrigin`.
  public var origin: UInt64
  public var id: HandoffID
  /// Which of the agent's event loops is told.
  public var loop: UInt8
  public var snapshot: TCPSnapshot

  public static var headerLength: Int { 40 }
  public static var version: UInt8 { 1 }
  /// Bytes of the datagram's payload at most, so that it fits every link of an Ethernet with its own headers, also in
  /// tunnels of the network.
  public static var limit: Int { 1400 }

  @inlinable
  public init(origin: UInt64, id: HandoffID, loop: UInt8, snapshot: TCPSnapshot) {
    self.origin = origin
    self.id = id
    self.loop = loop
    self.snapshot = snapshot
  }

  /// Bytes that `emit` writes for a request of this many.
  public func length(requestBytes: Int) -> Int {
    HandoffPacket.headerLength + snapshot.segment(requestBytes: requestBytes).headerLength + requestBytes
  }

  /// Writes the payload of the datagram to the start of `bytes`.
  ///
  /// - Precondition: `bytes` has at least `length(requestBytes:)` bytes and `request` is not empty.
  /// - Returns: the bytes written.
  public func emit(request: Span<UInt8>, key: HandoffPacketKey, into bytes: inout MutableSpan<UInt8>) -> Int {
    let segment = snapshot.segment(requestBytes: request.count)
    bytes.write(negotiated, at: 0)
    bytes.write(origin, at: 8)
    bytes.write(id.rawValue, at: 16)
    bytes.write(timestamps, at: 24)
    bytes.write(tag(of: segment, key), at: 32)
    let end = bytes.count
    var rest = bytes._mutatingExtracting(HandoffPacket.headerLength..<end)
    return HandoffPacket.headerLength + segment.emit(payload: request, into: &rest)
  }

  private var negotiated: UInt64 {
    var flags: UInt64 = 0
    if snapshot.windowScale != nil { flags |= 1 }
    if snapshot.sackPermitted { flags |= 2 }
    if snapshot.timestamps != nil { flags |= 4 }
    let shifts = UInt64(snapshot.windowScale?.send ?? 0) << 40 | UInt64(snapshot.windowScale?.receive ?? 0) << 32
    return UInt64(HandoffPacket.version) << 56 | flags << 48 | shifts | UInt64(snapshot.maximumSegmentSize) << 16
      | UInt64(loop) << 8
  }

  private var timestamps: UInt64 {
    UInt64(snapshot.timestamps?.recent ?? 0) << 32 | UInt64(snapshot.timestamps?.nextValue ?? 0)
  }

  private func tag(of segment: TCPSegment, _ key: HandoffPacketKey) -> UInt64 {
    let flow = snapshot.flow
    let words: InlineArray<10, UInt64> = [
      negotiated, origin, id.rawValue, timestamps,
      flow.client.address.high, flow.client.address.low, flow.service.address.high, flow.service.address.low,
      UInt64(flow.client.port) | UInt64(flow.service.port) << 16,
      UInt64(segment.sequence.rawValue) << 32 | UInt64(segment.acknowledgment.rawValue),
    ]
    return KeyedHash(key.first, key.second).hash(words.span)
  }
}

/// What names a distributor's worker to the agents' kernels, the same for every control connection that it makes.
public enum HandoffOrigin {
  /// - Parameters:
  ///   - instance: of the process, `Hello.instance`.
  ///   - name: of the worker, `Hello.name`.
  /// - Returns: never 0.
  public static func value(instance: UInt64, name: String) -> UInt64 {
    let bytes = Array(name.utf8)
    return max(1, KeyedHash(instance, 0x6f72_6967_696e_2e31).hash(bytes.span))
  }
}

extension TCPSnapshot {
  /// The segment that brings the request to the listener, as the client would send it.
  ///
  /// Its timestamp is the latest one of the client and echoes the one that our clock goes on from: neither end's PAWS
  /// check (RFC 7323 section 5) can refuse what follows.
  public func segment(requestBytes: Int) -> TCPSegment {
    TCPSegment(
      source: flow.client, destination: flow.service, sequence: receiveNext.advanced(by: -requestBytes),
      acknowledgment: sendNext, flags: [.ack, .psh],
      window: UInt16(clamping: sendWindow >> UInt32(windowScale?.send ?? 0)),
      options: TCPOptions(timestamps: timestamps.map { TCPTimestamps(value: $0.recent, echo: $0.nextValue) }))
  }
}
