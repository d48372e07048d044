// SPDX-License-Identifier: Apache-2.0

internal import Wire

/// Makes packets that a wire takes of a packet as the kernel holds it inside: with the checksum filled in that was left
/// open for a device, and cut into segments where offloads had joined several.
public struct PacketSplitter: ~Copyable {
  private var part: [UInt8] = []

  public init() {}

  /// Gives the packet as one or more packets of at most `limit` bytes. What is no TCP segment, or has IPv6 extension
  /// headers, is given as it is.
  public mutating func split(_ packet: Span<UInt8>, limit: Int, _ body: (Span<UInt8>) -> Void) {
    guard let parsed = try? TCPSegment.parse(packet, checksums: .ignored),
      parsed.segment.source.address.isIPv4 || packet[6] == 6
    else {
      body(packet)
      return
    }
    let header = parsed.payload.lowerBound
    let total = parsed.payload.upperBound
    let tcp = parsed.segment.source.address.isIPv4 ? Int(packet[0] & 15) * 4 : 40
    if total <= limit, !isOpen(packet, parsed, tcp) {
      body(packet.extracting(0..<total))
      return
    }
    let room = max(1, limit - header)
    var offset = 0
    repeat {
      let count = min(room, total - header - offset)
      write(packet, parsed, tcp: tcp, payload: header + offset..<header + offset + count)
      body(part.span)
      offset += count
    } while offset < total - header
  }

  private func isOpen(_ packet: Span<UInt8>, _ parsed: ParsedSegment, _ tcp: Int) -> Bool {
    packet.readUInt16(at: tcp + 16)
      == InternetChecksum.openTCPChecksum(
        length: parsed.payload.upperBound - tcp, source: parsed.segment.source.address,
        destination: parsed.segment.destination.address)
  }

  private mutating func write(_ packet: Span<UInt8>, _ parsed: ParsedSegment, tcp: Int, payload: Range<Int>) {
    let header = parsed.payload.lowerBound
    part.removeAll(keepingCapacity: true)
    let length = header + payload.count
    part.append(contentsOf: repeatElement(0, count: length))
    var bytes = part.mutableSpan
    bytes.write(packet.extracting(0..<header), at: 0)
    bytes.write(packet.extracting(payload), at: header)
    if parsed.segment.source.address.isIPv4 {
      bytes.write(UInt16(length), at: 2)
      bytes.write(UInt16(0), at: 10)
      let sum = InternetChecksum.sum(bytes.span.extracting(0..<tcp))
      bytes.write(~InternetChecksum.fold(sum), at: 10)
    } else {
      bytes.write(UInt16(length - 40), at: 4)
    }
    let sequence = parsed.segment.sequence.advanced(by: payload.lowerBound - header)
    bytes.write(sequence.rawValue, at: tcp + 4)
    if payload.upperBound < parsed.payload.upperBound {
      // FIN ends the last part, and PSH says that nothing follows.
      bytes[tcp + 13] &= ~(TCPFlags.fin.rawValue | TCPFlags.psh.rawValue)
    }
    bytes.write(UInt16(0), at: tcp + 16)
    let sum = InternetChecksum.tcpSum(
      bytes.span.extracting(tcp..<length), source: parsed.segment.source.address,
      destination: parsed.segment.destination.address)
    bytes.write(~InternetChecksum.fold(sum), at: tcp + 16)
  }
}
