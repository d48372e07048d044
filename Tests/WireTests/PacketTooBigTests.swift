// SPDX-License-Identifier: Apache-2.0

import Testing
import Wire

@Suite struct PacketTooBigTests {
  /// A message of a router, as RFC 792, RFC 1191 and RFC 4443 have it.
  static func ipv4(mtu: UInt16 = 1400, options: [UInt8] = []) -> [UInt8] {
    let quoted: [UInt8] =
      [0x45, 0, 0x05, 0xdc, 0, 0, 0x40, 0, 63, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2] + [
        0xc0, 0, 0x17, 0xc0, 5, 0xc8, 0, 0,
      ]
    var icmp: [UInt8] = [3, 4, 0, 0, 0, 0, UInt8(mtu >> 8), UInt8(mtu & 255)] + quoted
    let sum = ~InternetChecksum.fold(InternetChecksum.sum(icmp.span))
    icmp.replaceSubrange(2..<4, with: [UInt8(sum >> 8), UInt8(sum & 255)])
    let header = 20 + options.count
    return [
      UInt8(0x40 + header / 4), 0, 0, UInt8(header + icmp.count), 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 254, 10, 0, 0, 1,
    ]
      + options + icmp
  }

  static func ipv6(mtu: UInt32 = 1400) -> [UInt8] {
    let words = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: mtu >> $0) }
    let prefix: [UInt8] = [0x20, 1, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11)
    return [2, 0, 0x12, 0x34] + words + [0x60, 0, 0, 0, 5, 0xb4, 17, 63] + prefix + [1] + prefix + [2]
  }

  static let own4 = IPAddress("10.0.0.1")!
  static let node4 = IPAddress("10.0.0.2")!

  @Test func bothFormsAreRead() {
    let wanted = PacketTooBig(source: Self.own4, destination: Self.node4, mtu: 1400)
    #expect(PacketTooBig(ipv4: Self.ipv4().span) == wanted)
    #expect(PacketTooBig(ipv4: Self.ipv4(options: [1, 1, 1, 0]).span) == wanted)
    #expect(PacketTooBig(ipv4: (Self.ipv4() + [0, 0, 0]).span) == wanted, "padded")
    #expect(PacketTooBig(ipv4: Self.ipv4(mtu: 0).span)?.mtu == 0)
    #expect(
      PacketTooBig(icmpv6: Self.ipv6().span)
        == PacketTooBig(source: IPAddress("2001:db8::1")!, destination: IPAddress("2001:db8::2")!, mtu: 1400))
    #expect(PacketTooBig(icmpv6: Self.ipv6(mtu: .max).span)?.mtu == 0xffff_ffff)
  }

  @Test func nothingElseIs() {
    for length in 0..<Self.ipv4().count {
      #expect(PacketTooBig(ipv4: Self.ipv4().span.extracting(0..<length)) == nil, "\(length) bytes")
    }
    for length in 0..<Self.ipv6().count {
      #expect(PacketTooBig(icmpv6: Self.ipv6().span.extracting(0..<length)) == nil, "\(length) bytes")
    }
    // Version, header length, total length, fragment, protocol, type, code, checksum, quoted version, quoted address.
    for (offset, value) in [
      (0, 0x65), (0, 0x44), (3, 255), (7, 1), (9, 17), (20, 11), (21, 3), (22, 0), (28, 0x65), (47, 9),
    ]
      as [(Int, UInt8)]
    {
      var packet = Self.ipv4()
      packet[offset] = packet[offset] == value ? value &+ 1 : value
      #expect(PacketTooBig(ipv4: packet.span) == nil, "byte \(offset)")
    }
    for (offset, value) in [(0, 1), (0, 3), (8, 0x45)] as [(Int, UInt8)] {
      var message = Self.ipv6()
      message[offset] = value
      #expect(PacketTooBig(icmpv6: message.span) == nil, "byte \(offset)")
    }
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func noiseIsSurvived(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    for _ in 0..<20_000 {
      var bytes = Bool.random(using: &random) ? Self.ipv4() : Self.ipv6()
      for _ in 0..<Int.random(in: 0...6, using: &random) {
        bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      let cut = bytes.span.extracting(0..<Int.random(in: 0...bytes.count, using: &random))
      _ = PacketTooBig(ipv4: cut)
      _ = PacketTooBig(icmpv6: cut)
    }
  }
}
