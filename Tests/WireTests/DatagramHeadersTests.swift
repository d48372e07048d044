// SPDX-License-Identifier: Apache-2.0

import Testing
import Wire

@Suite struct DatagramHeadersTests {
  /// Bytes written out by hand from RFC 791, 768 and 8200; the IPv4 checksum by the sum of its words.
  @Test func headersAreThoseOfTheRFCs() throws {
    let ipv4 = try bytes(from: "10.0.0.1", to: "10.0.0.2", payload: [0xaa, 0xbb])
    #expect(
      ipv4 == [
        0x45, 0, 0, 30, 0, 0, 0x40, 0, 0x40, 0x11, 0x26, 0xcd, 10, 0, 0, 1, 10, 0, 0, 2,
        0x1b, 0x59, 0x1b, 0x5a, 0, 10, 0, 0, 0xaa, 0xbb,
      ])
    #expect(InternetChecksum.fold(InternetChecksum.sum(ipv4.span.extracting(0..<20))) == 0xffff)
    let ipv6 = try bytes(from: "2001:db8::1", to: "2001:db8::2", payload: [0xaa])
    var expected: [UInt8] = [0x60, 0, 0, 0, 0, 9, 0x11, 0x40]
    for host: UInt8 in [1, 2] {
      expected += [0x20, 1, 0x0d, 0xb8]
      expected += Array(repeating: 0, count: 11)
      expected.append(host)
    }
    expected += [0x1b, 0x59, 0x1b, 0x5a, 0, 9, 0, 0, 0xaa]
    #expect(ipv6 == expected)
  }

  private func bytes(from source: String, to destination: String, payload: [UInt8]) throws -> [UInt8] {
    let from = Endpoint(try #require(IPAddress(source)), 7001)
    let to = Endpoint(try #require(IPAddress(destination)), 7002)
    var packet = Array(repeating: 0, count: DatagramHeaders.length(isIPv4: to.address.isIPv4)) + payload
    var span = packet.mutableSpan
    DatagramHeaders.emit(from: from, to: to, payload: payload.count, into: &span)
    return packet
  }
}
