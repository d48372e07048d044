// SPDX-License-Identifier: Apache-2.0

/// What is asked of the checksums of a packet.
public enum ChecksumRule: Sendable, BitwiseCopyable {
  /// They are right.
  case right
  /// The TCP checksum is right, or left open as the kernel leaves it to a device that will fill it in (CHECKSUM_PARTIAL):
  /// the sum of the pseudo header. Packets that are read before they leave their machine, or whose segments the kernel has
  /// joined after it verified them, look so.
  case rightOrOpen
  /// Nothing: the kernel has verified them.
  case ignored
}

extension TCPSegment {
  /// Parses an IPv4 or IPv6 packet that starts at the IP header. Bytes after the packet's own length (Ethernet padding)
  /// are ignored.
  ///
  /// - Parameter verifyingChecksums: false only where the kernel already verified them.
  /// - Throws: the first rule that the packet breaks. Never traps, whatever the bytes.
  @inlinable
  public static func parse(
    _ packet: Span<UInt8>, verifyingChecksums: Bool = true
  ) throws(WireError) -> ParsedSegment {
    try parse(packet, checksums: verifyingChecksums ? .right : .ignored)
  }

  /// Parses an IPv4 or IPv6 packet that starts at the IP header.
  ///
  /// - Parameter checksums: what is asked of them.
  /// - Throws: the first rule that the packet breaks. Never traps, whatever the bytes.
  @inlinable
  public static func parse(
    _ packet: Span<UInt8>, checksums: ChecksumRule
  ) throws(WireError) -> ParsedSegment {
    guard packet.count >= 20 else { throw .truncated }
    switch packet[0] >> 4 {
    case 4: return try parseIPv4(packet, checksums: checksums)
    case 6: return try parseIPv6(packet, checksums: checksums)
    default: throw .badIPHeader
    }
  }

  @inlinable
  static func parseIPv4(_ packet: Span<UInt8>, checksums: ChecksumRule) throws(WireError) -> ParsedSegment {
    let headerLength = Int(packet[0] & 0x0f) * 4
    let totalLength = Int(packet.readUInt16(at: 2))
    guard headerLength >= 20, totalLength >= headerLength else { throw .badIPHeader }
    guard packet.count >= totalLength else { throw .truncated }
    // More-fragments flag or a fragment offset (RFC 791 section 3.1).
    guard packet.readUInt16(at: 6) & 0x3fff == 0 else { throw .fragment }
    guard packet[9] == 6 else { throw .notTCP }
    if checksums != .ignored, InternetChecksum.fold(InternetChecksum.sum(packet.extracting(0..<headerLength))) != 0xffff
    {
      throw .badIPChecksum
    }
    let source = IPAddress.read(ipv4: packet, at: 12)
    guard source.canBeSource else { throw .badSourceAddress }
    return try parseTCP(
      packet, from: headerLength, to: totalLength, source: source, destination: .read(ipv4: packet, at: 16),
      checksums: checksums)
  }

  @inlinable
  static func parseIPv6(_ packet: Span<UInt8>, checksums: ChecksumRule) throws(WireError) -> ParsedSegment {
    guard packet.count >= 40 else { throw .truncated }
    let totalLength = 40 + Int(packet.readUInt16(at: 4))
    guard packet.count >= totalLength else { throw .truncated }
    var nextHeader = packet[6]
    var offset = 40
    // RFC 8200 section 4.1: at most these come before TCP; each is a multiple of 8 bytes.
    while nextHeader != 6 {
      guard nextHeader == 0 || nextHeader == 43 || nextHeader == 60 else {
        throw nextHeader == 44 ? .fragment : .notTCP
      }
      guard offset + 8 <= totalLength else { throw .truncated }
      // A routing header with segments left means that another node is the destination (RFC 8200 section 4.4).
      guard nextHeader != 43 || packet[offset + 3] == 0 else { throw .notTCP }
      nextHeader = packet[offset]
      offset += 8 + Int(packet[offset + 1]) * 8
    }
    let source = IPAddress.read(ipv6: packet, at: 8)
    let destination = IPAddress.read(ipv6: packet, at: 24)
    guard !source.isIPv4, !destination.isIPv4 else { throw .mappedAddress }
    guard source.canBeSource else { throw .badSourceAddress }
    return try parseTCP(
      packet, from: offset, to: totalLength, source: source, destination: destination,
      checksums: checksums)
  }

  @inlinable
  static func parseTCP(
    _ packet: Span<UInt8>, from start: Int, to end: Int, source: IPAddress, destination: IPAddress,
    checksums: ChecksumRule
  ) throws(WireError) -> ParsedSegment {
    guard end - start >= 20 else { throw .truncated }
    let headerLength = Int(packet[start + 12] >> 4) * 4
    guard headerLength >= 20, start + headerLength <= end else { throw .badTCPHeader }
    if checksums != .ignored {
      let isOpen =
        checksums == .rightOrOpen
        && packet.readUInt16(at: start + 16)
          == InternetChecksum.openTCPChecksum(length: end - start, source: source, destination: destination)
      let sum =
        isOpen
        ? 0xffff : InternetChecksum.tcpSum(packet.extracting(start..<end), source: source, destination: destination)
      guard InternetChecksum.fold(sum) == 0xffff else { throw .badTCPChecksum }
    }
    let segment = TCPSegment(
      source: Endpoint(source, packet.readUInt16(at: start)),
      destination: Endpoint(destination, packet.readUInt16(at: start + 2)),
      sequence: SequenceNumber(packet.readUInt32(at: start + 4)),
      acknowledgment: SequenceNumber(packet.readUInt32(at: start + 8)),
      flags: TCPFlags(rawValue: packet[start + 13]),
      window: packet.readUInt16(at: start + 14),
      options: try TCPOptions.parse(packet.extracting(start + 20..<start + headerLength)))
    return ParsedSegment(segment: segment, payload: start + headerLength..<end)
  }
}
