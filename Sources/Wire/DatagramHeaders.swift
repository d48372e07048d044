// SPDX-License-Identifier: Apache-2.0

/// IP and UDP headers of a datagram that is sent as a whole packet.
public enum DatagramHeaders {
  /// Bytes of both headers.
  @inlinable
  public static func length(isIPv4: Bool) -> Int { isIPv4 ? 28 : 48 }

  /// Writes the headers to the start of `packet`, before `payload` bytes that are there already. Without a UDP checksum, as
  /// tunnels in both families may (RFC 6935): what is inside has its own.
  ///
  /// - Precondition: both ends are of one family and `packet` has room for headers and payload, 65,535 bytes at most.
  public static func emit(
    from source: Endpoint, to destination: Endpoint, payload: Int, into packet: inout MutableSpan<UInt8>
  ) {
    let isIPv4 = destination.address.isIPv4
    precondition(source.address.isIPv4 == isIPv4, "both ends of a datagram are of one family")
    let udp = isIPv4 ? 20 : 40
    let length = 8 + payload
    precondition(packet.count >= udp + length && udp + length <= 65_535, "the caller sized the buffer")
    if isIPv4 {
      packet.write(UInt32(0x4500_0000) | UInt32(20 + length), at: 0)
      // An atomic datagram, as in `TCPSegment.emit`.
      packet.write(UInt32(0x0000_4000), at: 4)
      packet.write(UInt32(0x4011_0000), at: 8)
      packet.write(source.address.ipv4Bits, at: 12)
      packet.write(destination.address.ipv4Bits, at: 16)
      let sum = InternetChecksum.sum(packet.span.extracting(0..<20))
      packet.write(~InternetChecksum.fold(sum), at: 10)
    } else {
      packet.write(UInt32(0x6000_0000), at: 0)
      packet.write(UInt16(length), at: 4)
      packet.write(UInt16(0x1140), at: 6)
      packet.write(source.address.high, at: 8)
      packet.write(source.address.low, at: 16)
      packet.write(destination.address.high, at: 24)
      packet.write(destination.address.low, at: 32)
    }
    packet.write(source.port, at: udp)
    packet.write(destination.port, at: udp + 2)
    packet.write(UInt16(length), at: udp + 4)
    packet.write(UInt16(0), at: udp + 6)
  }
}
