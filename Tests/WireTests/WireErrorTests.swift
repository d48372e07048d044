// SPDX-License-Identifier: Apache-2.0

import Testing
import Wire

/// Packets that break one rule and no other: checksums are right unless they are the matter.
enum BrokenPackets {
  static let source4 = IPAddress(ipv4: 0xc000_0201)
  static let destination4 = IPAddress(ipv4: 0xc000_0202)
  static let source6 = IPAddress(high: 0x2001_0db8_0000_0000, low: 1)
  static let destination6 = IPAddress(high: 0x2001_0db8_0000_0000, low: 2)

  static func segment(_ source: IPAddress, _ destination: IPAddress) -> TCPSegment {
    TCPSegment(
      source: Endpoint(source, 1025), destination: Endpoint(destination, 80), sequence: SequenceNumber(1),
      acknowledgment: SequenceNumber(2), flags: [.ack, .psh], window: 512,
      options: TCPOptions(timestamps: TCPTimestamps(value: 1, echo: 2)))
  }

  /// A good IPv4 packet: 20 bytes IP, 32 bytes TCP, 3 bytes payload; changed, with the IP header checksum made right.
  static func v4(_ source: IPAddress = source4, _ change: (inout [UInt8]) -> Void) -> [UInt8] {
    var bytes = packet(segment(source, destination4), [1, 2, 3])
    change(&bytes)
    fixIPChecksum(&bytes)
    return bytes
  }

  static func fixIPChecksum(_ bytes: inout [UInt8]) {
    let end = min(bytes.count, max(20, Int(bytes[0] & 15) * 4))
    bytes[10] = 0
    bytes[11] = 0
    let sum = ~InternetChecksumTests.naive(Array(bytes[0..<end]))
    bytes[10] = UInt8(sum >> 8)
    bytes[11] = UInt8(sum & 255)
  }

  static func v6(
    _ source: IPAddress = source6, _ destination: IPAddress = destination6, _ change: (inout [UInt8]) -> Void
  ) -> [UInt8] {
    // A packet of IPv6 with a mapped address cannot be emitted: put the address in later, the sum is the same for it.
    var bytes = packet(segment(source6, destination6), [1, 2, 3])
    for (offset, address, old) in [(8, source, source6), (24, destination, destination6)] where address != old {
      bytes.replaceSubrange(offset..<offset + 16, with: bigEndian(address.high) + bigEndian(address.low))
    }
    change(&bytes)
    return bytes
  }

  /// Inserts an extension header before TCP.
  static func withExtension(_ kind: UInt8, _ header: [UInt8]) -> [UInt8] {
    v6 { bytes in
      bytes.insert(contentsOf: header, at: 40)
      bytes[6] = kind
      bytes[5] += UInt8(header.count)
    }
  }

  static let cases: [(String, [UInt8], WireError)] = [
    ("nothing", [], .truncated),
    ("19 bytes", Array(v4 { _ in }.prefix(19)), .truncated),
    ("IPv4 packet without its last byte", v4 { $0.removeLast() }, .truncated),
    ("IPv6 header cut", Array(v6 { _ in }.prefix(39)), .truncated),
    ("IPv6 packet without its last byte", v6 { $0.removeLast() }, .truncated),
    ("IPv4 total length ends in the TCP header", v4 { $0[3] = 39 }, .truncated),
    ("IPv6 payload ends in the TCP header", v6 { $0[5] = 19 }, .truncated),
    ("IPv6 extension header past the end", withExtension(0, [6, 200, 0, 0, 0, 0, 0, 0]), .truncated),
    (
      "IPv6 extension header without bytes",
      v6 {
        $0[6] = 60; $0[5] = 4
      }, .truncated
    ),
    ("version 0", v4 { $0[0] = 0x05 }, .badIPHeader),
    ("version 5", v4 { $0[0] = 0x55 }, .badIPHeader),
    ("version 15", v4 { $0[0] = 0xf5 }, .badIPHeader),
    ("IPv4 header length of 4 words", v4 { $0[0] = 0x44 }, .badIPHeader),
    (
      "IPv4 total length below the header",
      v4 {
        $0[2] = 0; $0[3] = 19
      }, .badIPHeader
    ),
    (
      "IPv4 total length zero",
      v4 {
        $0[2] = 0; $0[3] = 0
      }, .badIPHeader
    ),
    (
      "IPv4 header checksum",
      {
        var bytes = v4 { _ in }; bytes[10] ^= 1; return bytes
      }(), .badIPChecksum
    ),
    ("IPv4 first fragment", v4 { $0[6] = 0x20 }, .fragment),
    ("IPv4 last fragment", v4 { $0[7] = 1 }, .fragment),
    ("IPv4 fragment offset in the high bits", v4 { $0[6] = 0x10 }, .fragment),
    ("IPv6 fragment", withExtension(44, [6, 0, 0, 1, 0, 0, 0, 1]), .fragment),
    ("IPv4 UDP", v4 { $0[9] = 17 }, .notTCP),
    ("IPv6 UDP", v6 { $0[6] = 17 }, .notTCP),
    ("IPv6 no next header", v6 { $0[6] = 59 }, .notTCP),
    ("IPv6 authentication header", withExtension(51, [6, 0, 0, 0, 0, 0, 0, 0]), .notTCP),
    ("IPv6 UDP behind options", withExtension(60, [17, 0, 1, 4, 0, 0, 0, 0]), .notTCP),
    ("IPv6 routing header with a segment left", withExtension(43, [6, 0, 2, 1, 0, 0, 0, 0]), .notTCP),
    ("IPv6 packet from an IPv4-mapped address", v6(source4) { _ in }, .mappedAddress),
    ("IPv6 packet to an IPv4-mapped address", v6(source6, destination4) { _ in }, .mappedAddress),
    ("IPv4 broadcast source", v4(IPAddress(ipv4: .max)) { _ in }, .badSourceAddress),
    ("IPv4 multicast source", v4(IPAddress(ipv4: 0xe000_0001)) { _ in }, .badSourceAddress),
    ("IPv4 source 0.0.0.0", v4(IPAddress(ipv4: 0)) { _ in }, .badSourceAddress),
    ("IPv6 multicast source", v6(IPAddress(high: 0xff02 << 48, low: 1)) { _ in }, .badSourceAddress),
    ("IPv6 unspecified source", v6(IPAddress(high: 0, low: 0)) { _ in }, .badSourceAddress),
    ("TCP data offset of 4 words", v4 { $0[32] = 0x40 }, .badTCPHeader),
    ("TCP data offset past the end", v4 { $0[32] = 0xf0 }, .badTCPHeader),
    ("IPv6 TCP data offset past the end", v6 { $0[52] = 0x90 }, .badTCPHeader),
    ("IPv4 TCP checksum", v4 { $0[36] ^= 1 }, .badTCPChecksum),
    ("IPv6 TCP checksum", v6 { $0[56] ^= 1 }, .badTCPChecksum),
    ("IPv4 payload", v4 { $0[54] ^= 1 }, .badTCPChecksum),
    ("IPv4 address that only the pseudo header covers", v4 { $0[19] ^= 1 }, .badTCPChecksum),
    // A length that does not fit the option; what it adds is taken back in the urgent pointer.
    (
      "timestamps option too short",
      v4 {
        $0[43] = 9; $0[39] = 1
      }, .badTCPOptions
    ),
    (
      "option past the end",
      v4 {
        $0[42] = 99; $0[43] = 13; $0[38] = 0xa4; $0[39] = 0xfc
      }, .badTCPOptions
    ),
  ]
}

@Suite struct WireErrorTests {
  @Test(arguments: BrokenPackets.cases)
  func `a broken packet gives the error of its rule`(name: String, bytes: [UInt8], error: WireError) {
    #expect(parse(bytes) == .failure(error))
  }

  @Test func `the packets that the table breaks are good before`() {
    #expect((try? parse(BrokenPackets.v4 { _ in }).get()) != nil)
    #expect((try? parse(BrokenPackets.v6 { _ in }).get()) != nil)
  }

  @Test func `every error has a case`() {
    let reached = Set(BrokenPackets.cases.map(\.2))
    #expect(WireError.allCases.filter { !reached.contains($0) }.isEmpty)
  }

  @Test(
    arguments: [
      ("hop-by-hop options", 0, [6, 0, 1, 4, 0, 0, 0, 0]), ("destination options", 60, [6, 0, 1, 4, 0, 0, 0, 0]),
      ("routing header that is used up", 43, [6, 0, 2, 0, 0, 0, 0, 0]),
      ("long options", 60, [6, 1] + [UInt8](repeating: 0, count: 14)),
      ("two headers", 0, [60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]),
    ] as [(String, UInt8, [UInt8])])
  func `IPv6 extension headers before TCP are skipped`(name: String, kind: UInt8, header: [UInt8]) throws {
    // The pseudo header counts TCP alone (RFC 8200 section 8.1), so the checksum stays right.
    let parsed = try parse(BrokenPackets.withExtension(kind, header)).get()
    #expect(parsed.segment == BrokenPackets.segment(BrokenPackets.source6, BrokenPackets.destination6))
    #expect(parsed.payload.count == 3)
  }

  @Test func `IPv4 options are skipped`() throws {
    var bytes = packet(BrokenPackets.segment(BrokenPackets.source4, BrokenPackets.destination4), [1, 2, 3])
    bytes.insert(contentsOf: [1, 1, 1, 0], at: 20)
    bytes[0] = 0x46
    bytes[3] += 4
    BrokenPackets.fixIPChecksum(&bytes)
    let parsed = try parse(bytes).get()
    #expect(parsed.segment == BrokenPackets.segment(BrokenPackets.source4, BrokenPackets.destination4))
    #expect(parsed.payload == 56..<59)
  }

  @Test func `checksums are taken as verified only on demand`() {
    for bytes in [BrokenPackets.v4 { $0[36] ^= 1 }, BrokenPackets.v6 { $0[56] ^= 1 }] {
      #expect(parse(bytes) == .failure(.badTCPChecksum))
      #expect((try? parse(bytes, verifyingChecksums: false).get()) != nil)
    }
  }
}
