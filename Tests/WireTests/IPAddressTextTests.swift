// SPDX-License-Identifier: Apache-2.0

import Testing
import Wire

@Suite struct IPAddressTextTests {
  /// Text as written, canonical text of RFC 5952.
  static let canonical: [(String, String)] = [
    // Section 4.1: no leading zeros.
    ("2001:0db8::0001", "2001:db8::1"),
    ("2001:db8:0:0:0:0:2:1", "2001:db8::2:1"),
    // Section 4.2.1: as short as possible.
    ("2001:db8:0:0:0:0:0:1", "2001:db8::1"),
    ("2001:db8::0:1", "2001:db8::1"),
    // Section 4.2.2: one zero group stays.
    ("2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
    ("0:1:1:1:1:1:1:1", "0:1:1:1:1:1:1:1"),
    // Section 4.2.3: the longest run, of equal ones the first.
    ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
    ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
    ("0:0:1:1:0:0:1:1", "::1:1:0:0:1:1"),
    // Section 4.3: lower case.
    ("2001:DB8:ABCD::EF", "2001:db8:abcd::ef"),
    ("::", "::"),
    ("::1", "::1"),
    ("1::", "1::"),
    ("0:0:0:0:0:0:0:0", "::"),
    ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
    ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
    ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    // RFC 4291 section 2.2 form 3.
    ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
    ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
    ("::1.2.3.4", "::102:304"),
    // IPv4-mapped is IPv4 here.
    ("::ffff:192.0.2.1", "192.0.2.1"),
    ("::ffff:c000:201", "192.0.2.1"),
    ("192.0.2.1", "192.0.2.1"),
    ("0.0.0.0", "0.0.0.0"),
    ("255.255.255.255", "255.255.255.255"),
  ]

  static let refused = [
    "", " ", ".", ":", ":::", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "1.2.3.256", "01.2.3.4",
    "1.2.3.04",
    "1.2.3.4 ", " 1.2.3.4", "+1.2.3.4", "-1.2.3.4", "1.2.3.4a", "0x1.2.3.4", "1.2.3.4/8", "1,2,3,4", "١.2.3.4",
    "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "1:::2", ":1::", "::1:", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8",
    "1::2:3:4:5:6:7:8", "12345::", "g::", "+1::", "-1::", "1: 2::", "fe80::1%eth0", "[::1]", "::1/64", "1.2.3.4::",
    "1.2.3.4:1::", "::1.2.3.4:1", "::1.2.3", "::1.2.3.256", "1:2:3:4:5:6:7:1.2.3.4", "::ffff:01.2.3.4", "١::",
  ]

  @Test(arguments: canonical)
  func `text is written in its canonical form`(written: String, expected: String) throws {
    let address = try #require(IPAddress(written))
    #expect(address.description == expected)
    #expect(IPAddress(expected) == address)
  }

  @Test(arguments: refused)
  func `text that is no address is refused`(text: String) {
    #expect(IPAddress(text) == nil)
  }

  @Test func `bits and text agree`() {
    #expect(IPAddress("127.0.0.1") == IPAddress(ipv4: 0x7f00_0001))
    #expect(IPAddress("2001:db8::1") == IPAddress(high: 0x2001_0db8_0000_0000, low: 1))
    #expect(IPAddress("1.2.3.4")?.isIPv4 == true)
    #expect(IPAddress("::1.2.3.4")?.isIPv4 == false)
    #expect(IPAddress("1:2:3:4::ffff:1.2.3.4")?.isIPv4 == false)
    #expect(IPAddress("1.2.3.4")?.ipv4Bits == 0x0102_0304)
  }

  @Test(arguments: [
    ("fe80::1", true), ("febf:ffff::", true), ("fec0::", false), ("fe7f::", false), ("169.254.0.1", false),
  ])
  func `link-local addresses are fe80::/10`(text: String, expected: Bool) {
    #expect(IPAddress(text)?.isLinkLocalIPv6 == expected)
  }

  @Test(arguments: [
    ("0.0.0.0", false), ("0.1.2.3", false), ("1.0.0.0", true), ("127.0.0.1", true), ("223.255.255.255", true),
    ("224.0.0.1", false), ("239.255.255.255", false), ("240.0.0.1", true), ("255.255.255.255", false), ("::", false),
    ("::1", true), ("fe80::1", true), ("feff::", true), ("ff02::1", false), ("ffff::1", false), ("0:1::", true),
  ])
  func `unspecified, multicast and broadcast addresses are no source`(text: String, expected: Bool) {
    #expect(IPAddress(text)?.canBeSource == expected)
  }

  @Test func `endpoints and flows are written as in URLs`() throws {
    let client = Endpoint(try #require(IPAddress("2001:db8::1")), 1234)
    let service = Endpoint(try #require(IPAddress("192.0.2.1")), 80)
    #expect(client.description == "[2001:db8::1]:1234")
    #expect(service.description == "192.0.2.1:80")
    #expect(FlowTuple(client: client, service: service).description == "[2001:db8::1]:1234->192.0.2.1:80")
  }

  @Test func `Ethernet addresses are read and written`() {
    #expect(MACAddress("02:00:5e:10:00:Ff")?.bits == 0x0200_5e10_00ff)
    #expect(MACAddress("02:00:5e:10:00:ff")?.description == "02:00:5e:10:00:ff")
    #expect(MACAddress(bits: 0xffff_0102_0304_0506) == MACAddress("01:02:03:04:05:06"))
    let address = MACAddress(bits: 0x0102_0304_0506)
    #expect((0..<6).map { address[$0] } == [1, 2, 3, 4, 5, 6])
    for text in [
      "", "01:02:03:04:05", "01:02:03:04:05:06:07", "1:2:3:4:5:6", "+1:02:03:04:05:06", "01-02-03-04-05-06",
      "0g:02:03:04:05:06",
    ] {
      #expect(MACAddress(text) == nil, "\(text)")
    }
  }
}
