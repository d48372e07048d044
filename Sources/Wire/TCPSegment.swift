// SPDX-License-Identifier: Apache-2.0

/// Why bytes are not a packet that this cluster takes. Each case has a counter of its own at the distributor.
public enum WireError: Error, Hashable, Sendable, CaseIterable {
  /// Shorter than its own headers say.
  case truncated
  /// Neither IPv4 nor IPv6, or a header length that is not allowed.
  case badIPHeader
  /// The IPv4 header checksum is wrong.
  case badIPChecksum
  /// A fragment: TCP over this cluster is never fragmented (path MTU discovery), see RFC 8900.
  case fragment
  /// Not TCP, or TCP behind an IPv6 extension header that is not understood.
  case notTCP
  /// An IPv4-mapped address in an IPv6 packet (`::ffff:0:0/96`): it must not be on the wire, and it would pass for the IPv4
  /// address, since `IPAddress` keeps both alike.
  case mappedAddress
  /// A source address that no host has, see `IPAddress.canBeSource`.
  case badSourceAddress
  /// The TCP data offset is below 5 words or past the end of the packet.
  case badTCPHeader
  /// The TCP checksum is wrong.
  case badTCPChecksum
  /// The length of a TCP option runs past the header or does not fit its kind.
  case badTCPOptions
}

/// The header of one TCP segment with its addresses; the payload lies beside it.
public struct TCPSegment: Hashable, Sendable, BitwiseCopyable {
  public var source: Endpoint
  public var destination: Endpoint
  public var sequence: SequenceNumber
  public var acknowledgment: SequenceNumber
  public var flags: TCPFlags
  /// The window field as on the wire, unscaled.
  public var window: UInt16
  public var options: TCPOptions

  @inlinable
  public init(
    source: Endpoint, destination: Endpoint, sequence: SequenceNumber, acknowledgment: SequenceNumber = .init(0),
    flags: TCPFlags, window: UInt16 = 0, options: TCPOptions = .init()
  ) {
    self.source = source
    self.destination = destination
    self.sequence = sequence
    self.acknowledgment = acknowledgment
    self.flags = flags
    self.window = window
    self.options = options
  }

  /// Bytes of IP and TCP header that `emit` writes before the payload: 40 to 80.
  @inlinable
  public var headerLength: Int { (destination.address.isIPv4 ? 40 : 60) + options.encodedLength }

  /// Sequence numbers that the segment occupies: payload plus one each for SYN and FIN.
  @inlinable
  public func sequenceLength(payload: Int) -> Int {
    payload + (flags.contains(.syn) ? 1 : 0) + (flags.contains(.fin) ? 1 : 0)
  }
}

/// A parsed packet: the segment and where its payload lies in the bytes that were parsed.
public struct ParsedSegment: Hashable, Sendable {
  public var segment: TCPSegment
  public var payload: Range<Int>

  @inlinable
  public init(segment: TCPSegment, payload: Range<Int>) {
    self.segment = segment
    self.payload = payload
  }
}
