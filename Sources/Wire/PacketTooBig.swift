// SPDX-License-Identifier: Apache-2.0

/// A router's word that a packet was too long for the next link: ICMP "fragmentation needed" (RFC 1191 section 4) or ICMPv6
/// "packet too big" (RFC 4443 section 3.2).
public struct PacketTooBig: Hashable, Sendable, BitwiseCopyable {
  /// Both ends of the packet that did not fit.
  public var source: IPAddress
  public var destination: IPAddress
  /// Bytes of the longest packet that would have; 0 from routers older than RFC 1191.
  public var mtu: Int

  public init(source: IPAddress, destination: IPAddress, mtu: Int) {
    (self.source, self.destination, self.mtu) = (source, destination, mtu)
  }

  /// Reads an IPv4 packet; nil when it is anything else, damaged or cut.
  public init?(ipv4 packet: Span<UInt8>) {
    guard packet.count >= 20, packet[0] >> 4 == 4, packet[9] == 1 else { return nil }
    let start = Int(packet[0] & 15) * 4
    let end = Int(packet.readUInt16(at: 2))
    // Not a fragment, and with the quoted IP header.
    guard start >= 20, start + 28 <= end, end <= packet.count, packet.readUInt16(at: 6) & 0x3fff == 0 else {
      return nil
    }
    let message = packet.extracting(start..<end)
    guard message[0] == 3, message[1] == 4, message[8] >> 4 == 4,
      InternetChecksum.fold(InternetChecksum.sum(message)) == 0xffff
    else { return nil }
    self.init(
      source: IPAddress(ipv4: message.readUInt32(at: 20)), destination: IPAddress(ipv4: message.readUInt32(at: 24)),
      mtu: Int(message.readUInt16(at: 6)))
  }

  /// Reads an ICMPv6 message whose checksum has been verified; nil when it is anything else or cut.
  public init?(icmpv6 message: Span<UInt8>) {
    guard message.count >= 48, message[0] == 2, message[8] >> 4 == 6 else { return nil }
    self.init(
      source: IPAddress(high: message.readUInt64(at: 16), low: message.readUInt64(at: 24)),
      destination: IPAddress(high: message.readUInt64(at: 32), low: message.readUInt64(at: 40)),
      mtu: Int(message.readUInt32(at: 4)))
  }
}
