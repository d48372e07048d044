// SPDX-License-Identifier: Apache-2.0

public import Wire

/// The bounds and times of one worker's responder. Times are nanoseconds, sizes are bytes.
public struct ResponderConfiguration: Sendable {
  // MARK: Bounds

  /// Connections of any state, embryonic ones and tombstones included. At the bound new clients get SYN cookies, and the
  /// segment that would complete such a handshake is dropped: the client retransmits until there is room.
  public var maximumConnections = 65_536
  /// Connections whose handshake is under way. Beyond it SYNs are answered with cookies and leave no state.
  public var maximumEmbryonic = 16_384
  /// All receive buffers together, and with the requests that the kernel handed off. At the bound data is dropped
  /// unacknowledged and the client retransmits; a handoff by the kernel is not watched.
  public var maximumBufferBytes = 64 << 20
  /// All packets held during handoffs together. At the bound further ones are dropped and the client retransmits.
  public var maximumHeldBytes = 32 << 20
  /// Packets held for one connection, at most 65,536; beyond it they are dropped.
  public var heldBytesPerConnection = 65_536
  /// The receive window of a connection before its handoff, at most 65,535.
  public var receiveLimit = 65_535
  /// A request head that is longer is answered with 431.
  public var headLimit = 16_384
  /// A request target that is longer is answered with 414.
  public var targetLimit = 8_192

  // MARK: TCP

  /// The MSS that we announce; the back-ends' interfaces must take it too, since it stays in force after the handoff.
  public var maximumSegmentSizeIPv4: UInt16 = 1460
  public var maximumSegmentSizeIPv6: UInt16 = 1440

  /// Our shift of RFC 7323 section 2, 0 to 14. Announced only to clients that offer window scaling.
  public var windowScale: UInt8 = 7
  /// What is asked of the checksums of the packets that are given.
  public var checksums = ChecksumRule.right
  /// SYNs are answered by the kernel's program with our keys, and bare acknowledgments never come: the first that is seen
  /// of a connection is a segment with data or FIN.
  public var handshakeInKernel = false
  /// The first retransmission timeout (RFC 6298 section 2.1); it doubles with each retransmission.
  public var retransmissionTimeout: UInt64 = 1_000_000_000
  /// Retransmissions of a SYN-ACK before the embryonic connection is dropped.
  public var synAckRetransmissions: UInt8 = 3
  /// Per connection at most one challenge ACK (RFC 5961 section 7) or duplicate ACK without data in this time.
  public var challengeInterval: UInt64 = 500_000_000
  /// Resets in answer to unknown segments, per second.
  public var resetsPerSecond: UInt32 = 1_000

  // MARK: Request and handoff

  /// From the handshake to the complete head; then 408, or a plain close when no byte came.
  public var headTimeout: UInt64 = 10_000_000_000
  /// The key of the target hash; every distributor of a cluster uses the same one.
  public var targetKey: KeyedHash
  /// From `.decide` to the decision; then 503.
  public var decisionTimeout: UInt64 = 1_000_000_000
  /// From `.handOff` to the back-end's answer; then another back-end is tried.
  public var handoffTimeout: UInt64 = 1_000_000_000
  /// From a handoff by packet to the back-end's word that it has the connection; then it is asked by message.
  public var packetTimeout: UInt64 = 300_000_000
  /// From the first `.decide` to the end of the last attempt; then 503.
  public var placementTimeout: UInt64 = 3_000_000_000
  /// Back-ends tried for one connection.
  public var maximumAttempts: UInt8 = 3
  /// How long, and up to 0.134 s longer, late packets of a connection that was handed off are still delivered to its back-end.
  public var tombstoneTime: UInt64 = 1_000_000_000

  // MARK: Own answers

  /// Until the client has acknowledged an answer; then the connection is reset.
  public var answerTimeout: UInt64 = 20_000_000_000
  /// Retransmissions of an answer before the connection is reset.
  public var answerRetransmissions: UInt8 = 4
  /// How long we wait for the client's FIN after it has acknowledged ours, discarding what it still sends.
  public var lingerTimeout: UInt64 = 5_000_000_000
  /// TIME_WAIT. Short: nothing but an answer of one segment was sent, and only a lost last ACK has to be repeated.
  public var timeWait: UInt64 = 1_000_000_000

  public init(targetKey: KeyedHash) {
    self.targetKey = targetKey
  }

  /// Brings what has a hard bound within it: a window field, a buffer, and a shift have so many bits.
  mutating func clamp() {
    maximumConnections = min(max(maximumConnections, 1), 1 << 24)
    receiveLimit = min(max(receiveLimit, 1), 65_535)
    heldBytesPerConnection = min(heldBytesPerConnection, BufferPool.largest)
    windowScale = min(windowScale, 14)
    synAckRetransmissions = min(synAckRetransmissions, 10)
    answerRetransmissions = min(answerRetransmissions, 10)
  }
}

/// The secrets of one worker. All are drawn at random when the worker starts; those of stateless handshakes are shared.
public struct ResponderKeys: Sendable, BitwiseCopyable {
  /// Places tuples in the connection table.
  var table: KeyedHash
  /// Initial sequence numbers (RFC 6528 section 3).
  var sequence: KeyedHash
  /// SYN cookies and timestamp offsets.
  var handshake: HandshakeKeys

  public init(handshake: HandshakeKeys, using generator: inout some RandomNumberGenerator) {
    self.handshake = handshake
    table = KeyedHash(generator.next(), generator.next())
    sequence = KeyedHash(generator.next(), generator.next())
  }
}
