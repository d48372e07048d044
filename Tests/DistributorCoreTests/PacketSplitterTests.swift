// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Testing
import Wire

@Suite struct PacketSplitterTests {
  private static func packet(_ v6: Bool, payload: Int, flags: TCPFlags, open: Bool) -> [UInt8] {
    let address = v6 ? IPAddress(high: 0x2001_0db8 << 32, low: 7) : IPAddress(ipv4: 0x0a4d_0207)
    let segment = TCPSegment(
      source: Endpoint(address, 40_000), destination: v6 ? Rig.service6 : Rig.service4,
      sequence: SequenceNumber(0xffff_ff00), acknowledgment: SequenceNumber(9), flags: flags, window: 77,
      options: TCPOptions(timestamps: TCPTimestamps(value: 3, echo: 4)))
    var bytes = PacketBuilder.packet(segment, (0..<payload).map { UInt8(truncatingIfNeeded: $0 &* 7) })
    if open {
      let tcp = v6 ? 40 : 20
      let sum = InternetChecksum.openTCPChecksum(
        length: bytes.count - tcp, source: segment.source.address, destination: segment.destination.address)
      (bytes[tcp + 16], bytes[tcp + 17]) = (UInt8(sum >> 8), UInt8(sum & 255))
    }
    return bytes
  }

  private static func split(_ packet: [UInt8], limit: Int = 1500) -> [[UInt8]] {
    var splitter = PacketSplitter()
    var parts: [[UInt8]] = []
    splitter.split(packet.span, limit: limit) { part in parts.append(part.indices.map { part[$0] }) }
    return parts
  }

  @Test(arguments: [0, 1, 1_448, 1_449, 20_000, 65_000], [false, true])
  func partsAreTheWhole(payload: Int, v6: Bool) throws {
    if v6, payload == 65_000 { return }
    for open in [true, false] {
      let whole = Self.packet(v6, payload: payload, flags: [.ack, .psh, .fin], open: open)
      let parts = Self.split(whole)
      var next = SequenceNumber(0xffff_ff00)
      var data: [UInt8] = []
      for (index, part) in parts.enumerated() {
        #expect(part.count <= 1500)
        let parsed = try TCPSegment.parse(part.span, checksums: .right)
        #expect(parsed.segment.sequence == next)
        #expect(parsed.segment.acknowledgment == SequenceNumber(9) && parsed.segment.window == 77)
        #expect(parsed.segment.options.timestamps == TCPTimestamps(value: 3, echo: 4))
        #expect(parsed.segment.flags == (index == parts.count - 1 ? [.ack, .psh, .fin] : .ack))
        #expect(parsed.payload.upperBound == part.count)
        data += part[parsed.payload]
        next = next.advanced(by: parsed.payload.count)
      }
      let room = 1500 - (v6 ? 72 : 52)
      #expect(parts.count == max(1, (payload + room - 1) / room))
      #expect(data == Array(whole.suffix(payload)))
    }
  }

  @Test func whatNeedsNothingIsLeftAlone() {
    let right = Self.packet(false, payload: 10, flags: .ack, open: false)
    #expect(Self.split(right) == [right])
    var wrong = right
    wrong[36] ^= 0x55
    #expect(Self.split(wrong) == [wrong], "a wrong checksum stays wrong")
    #expect(Self.split([1, 2, 3]) == [[1, 2, 3]])
  }
}
