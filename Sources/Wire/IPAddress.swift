// SPDX-License-Identifier: Apache-2.0

/// An IPv4 or IPv6 address as 128 bits; IPv4 is kept in its IPv4-mapped form (RFC 4291 section 2.5.5.2), so that both
/// families share tables, messages and the BPF flow key.
public struct IPAddress: Hashable, Sendable, BitwiseCopyable {
  /// The first eight bytes on the wire, as a host-order integer.
  public var high: UInt64
  /// The last eight bytes on the wire, as a host-order integer.
  public var low: UInt64

  @inlinable
  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// An IPv4 address from its host-order 32 bits: `0x7f000001` is 127.0.0.1.
  @inlinable
  public init(ipv4 bits: UInt32) {
    self.init(high: 0, low: 0x0000_ffff_0000_0000 | UInt64(bits))
  }

  @inlinable
  public var isIPv4: Bool { high == 0 && low >> 32 == 0xffff }

  /// The host-order 32 bits of an IPv4 address; meaningless unless `isIPv4`.
  @inlinable
  public var ipv4Bits: UInt32 { UInt32(truncatingIfNeeded: low) }

  /// fe80::/10 (RFC 4291 section 2.5.6).
  public var isLinkLocalIPv6: Bool { high >> 54 == 0xfe80 >> 6 }

  /// 169.254.0.0/16 (RFC 3927) or fe80::/10.
  public var isLinkLocal: Bool { isIPv4 ? ipv4Bits >> 16 == 0xa9fe : isLinkLocalIPv6 }

  /// 127.0.0.0/8 or ::1.
  public var isLoopback: Bool { isIPv4 ? ipv4Bits >> 24 == 127 : high == 0 && low == 1 }

  /// Whether a segment may come from this address. A broadcast, multicast or unspecified source is to be discarded (RFC
  /// 9293 MUST-57, RFC 1122 section 3.2.1.3): an answer to it would go to everyone or to no one.
  @inlinable
  public var canBeSource: Bool {
    if isIPv4 {
      let bits = ipv4Bits
      return bits >> 24 != 0 && bits >> 28 != 0xe && bits != 0xffff_ffff
    }
    return high >> 56 != 0xff && (high != 0 || low != 0)
  }

  /// Reads 4 or 16 bytes in network order at `offset`; the caller has checked that they are there.
  @inlinable
  static func read(ipv4 bytes: Span<UInt8>, at offset: Int) -> IPAddress {
    IPAddress(ipv4: bytes.readUInt32(at: offset))
  }

  @inlinable
  static func read(ipv6 bytes: Span<UInt8>, at offset: Int) -> IPAddress {
    IPAddress(high: bytes.readUInt64(at: offset), low: bytes.readUInt64(at: offset + 8))
  }
}

/// An address and a TCP port (host order).
public struct Endpoint: Hashable, Sendable, BitwiseCopyable {
  public var address: IPAddress
  public var port: UInt16

  @inlinable
  public init(_ address: IPAddress, _ port: UInt16) {
    self.address = address
    self.port = port
  }
}

/// The 4-tuple of a connection, as seen by the cluster.
public struct FlowTuple: Hashable, Sendable, BitwiseCopyable {
  public var client: Endpoint
  /// The address and port that the client dialled.
  public var service: Endpoint

  @inlinable
  public init(client: Endpoint, service: Endpoint) {
    self.client = client
    self.service = service
  }
}

/// An Ethernet address.
public struct MACAddress: Hashable, Sendable, BitwiseCopyable {
  /// The six bytes in the low 48 bits, first byte on the wire highest.
  public var bits: UInt64

  @inlinable
  public init(bits: UInt64) { self.bits = bits & 0xffff_ffff_ffff }

  /// Parses `02:00:00:00:00:01`.
  public init?(_ text: some StringProtocol) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 6 else { return nil }
    var bits: UInt64 = 0
    for part in parts {
      guard part.utf8.count == 2, part.isHexadecimal, let byte = UInt8(part, radix: 16) else { return nil }
      bits = bits << 8 | UInt64(byte)
    }
    self.init(bits: bits)
  }

  /// Byte `index` on the wire, 0 to 5.
  @inlinable
  public subscript(index: Int) -> UInt8 { UInt8(truncatingIfNeeded: bits >> UInt64((5 - index) * 8)) }
}

extension MACAddress: CustomStringConvertible {
  public var description: String {
    (0..<6).map { index in
      let text = String(self[index], radix: 16)
      return text.count == 1 ? "0" + text : text
    }.joined(separator: ":")
  }
}
