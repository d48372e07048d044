// SPDX-License-Identifier: Apache-2.0

/// The ones' complement sum of RFC 1071.
public enum InternetChecksum {
  /// The unfolded sum of 16-bit big-endian words; an odd last byte counts as the high half of a word.
  @inlinable
  public static func sum(_ bytes: Span<UInt8>, from initial: UInt64 = 0) -> UInt64 {
    var sum = initial
    var offset = 0
    let count = bytes.count
    // 32-bit words sum to the same value modulo 2^16 - 1; 2^32 of them fit into 64 bits.
    while count &- offset >= 8 {
      let word = bytes.readUInt64(at: offset)
      sum &+= word >> 32 &+ word & 0xffff_ffff
      offset &+= 8
    }
    while count &- offset >= 2 {
      sum &+= UInt64(bytes.readUInt16(at: offset))
      offset &+= 2
    }
    if offset < count { sum &+= UInt64(bytes[offset]) << 8 }
    return sum
  }

  @inlinable
  static func sum(_ address: IPAddress) -> UInt64 {
    if address.isIPv4 { return UInt64(address.ipv4Bits) }
    return (address.high >> 32) &+ (address.high & 0xffff_ffff) &+ (address.low >> 32) &+ (address.low & 0xffff_ffff)
  }

  /// Folds a sum to 16 bits; 0xffff for a packet whose checksum is right.
  @inlinable
  public static func fold(_ sum: UInt64) -> UInt16 {
    var sum = sum
    while sum >> 16 != 0 { sum = sum & 0xffff &+ sum >> 16 }
    return UInt16(truncatingIfNeeded: sum)
  }

  /// What the checksum field of a segment holds that is left open: the sum of the pseudo header.
  @inlinable
  public static func openTCPChecksum(length: Int, source: IPAddress, destination: IPAddress) -> UInt16 {
    fold(UInt64(length) &+ 6 &+ sum(source) &+ sum(destination))
  }

  /// The sum of the pseudo header and of the TCP header and payload (RFC 9293 section 3.1, RFC 8200 section 8.1).
  @inlinable
  public static func tcpSum(_ segment: Span<UInt8>, source: IPAddress, destination: IPAddress) -> UInt64 {
    var initial = UInt64(segment.count) &+ 6
    initial &+= sum(source)
    initial &+= sum(destination)
    return sum(segment, from: initial)
  }
}
