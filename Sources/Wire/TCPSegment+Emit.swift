// SPDX-License-Identifier: Apache-2.0

extension TCPSegment {
  /// Writes the IP and TCP headers and `payload` with right checksums to the start of `packet`.
  ///
  /// - Precondition: source and destination are of one family, `packet` has at least `headerLength + payload.count` bytes,
  ///   and these are at most 65535, the longest IP packet.
  /// - Returns: the bytes written.
  @inlinable
  public func emit(payload: Span<UInt8>, into packet: inout MutableSpan<UInt8>) -> Int {
    let isIPv4 = destination.address.isIPv4
    let tcpStart = isIPv4 ? 20 : 40
    let tcpHeaderLength = 20 + options.encodedLength
    let total = tcpStart + tcpHeaderLength + payload.count
    precondition(source.address.isIPv4 == isIPv4, "both ends of a segment are of one family")
    precondition(packet.count >= total && total <= 65535, "the caller sized the buffer by headerLength")
    if isIPv4 {
      emitIPv4Header(total: total, into: &packet)
    } else {
      emitIPv6Header(payloadLength: total - 40, into: &packet)
    }
    packet.write(source.port, at: tcpStart)
    packet.write(destination.port, at: tcpStart + 2)
    packet.write(sequence.rawValue, at: tcpStart + 4)
    packet.write(acknowledgment.rawValue, at: tcpStart + 8)
    packet[tcpStart + 12] = UInt8(tcpHeaderLength / 4) << 4
    packet[tcpStart + 13] = flags.rawValue
    packet.write(window, at: tcpStart + 14)
    packet.write(UInt32(0), at: tcpStart + 16)
    options.emit(into: &packet, at: tcpStart + 20)
    packet.write(payload, at: tcpStart + tcpHeaderLength)
    let sum = InternetChecksum.tcpSum(
      packet.span.extracting(tcpStart..<total), source: source.address, destination: destination.address)
    packet.write(~InternetChecksum.fold(sum), at: tcpStart + 16)
    return total
  }

  @inlinable
  func emitIPv4Header(total: Int, into packet: inout MutableSpan<UInt8>) {
    packet.write(UInt32(0x4500_0000) | UInt32(total), at: 0)
    // Identification 0 and don't-fragment: an atomic datagram (RFC 6864 section 4.1).
    packet.write(UInt32(0x0000_4000), at: 4)
    packet.write(UInt32(0x4006_0000), at: 8)
    packet.write(source.address.ipv4Bits, at: 12)
    packet.write(destination.address.ipv4Bits, at: 16)
    let sum = InternetChecksum.sum(packet.span.extracting(0..<20))
    packet.write(~InternetChecksum.fold(sum), at: 10)
  }

  @inlinable
  func emitIPv6Header(payloadLength: Int, into packet: inout MutableSpan<UInt8>) {
    packet.write(UInt32(0x6000_0000), at: 0)
    packet.write(UInt16(payloadLength), at: 4)
    packet.write(UInt16(0x0640), at: 6)
    packet.write(source.address.high, at: 8)
    packet.write(source.address.low, at: 16)
    packet.write(destination.address.high, at: 24)
    packet.write(destination.address.low, at: 32)
  }
}
