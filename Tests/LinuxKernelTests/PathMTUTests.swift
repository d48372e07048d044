// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import Testing
import Wire

@testable import LinuxKernel

/// What the kernel and routers say of the longest packet on a way.
@Suite struct PathMTUTests {
  private func inNamespace(_ name: String, _ body: (NetworkNamespace) throws -> Void) throws {
    let namespace = try NetworkNamespace.create("hlk-\(getpid())-\(name)")
    defer { try? namespace.remove() }
    try body(namespace)
  }

  @Test func routesTellTheirMTU() throws {
    try inNamespace("mtu") { namespace in
      for line in [
        "link add d0 type veth peer name d1", "link set d1 up", "link set d0 up", "address add 10.1.0.1/24 dev d0",
        "address add fd01::1/64 dev d0 nodad",
        "route add 10.2.0.0/16 via 10.1.0.2 mtu 1400", "route add fd02::/64 via fd01::2 mtu 1300",
      ] {
        try namespace.run(["ip"] + line.split(separator: " ").map(String.init)).checked()
      }
      let expected: [(String, Int?)] = [
        ("10.1.0.7", nil), ("10.2.0.7", 1400), ("fd01::7", nil), ("fd02::7", 1300), ("127.0.0.1", nil),
      ]
      for (address, mtu) in expected {
        let found = try namespace.perform {
          var netlink = try NetlinkSocket(.route)
          return try netlink.route(to: IPAddress(address)!)
        }
        // The kernel tells the interface's for some, and leaves it out for others.
        #expect(found.mtu == mtu || (mtu == nil && (found.mtu ?? 0) >= 1500), "\(address): \(found)")
      }
    }
  }

  /// A router's messages, sent to ourselves: the one that says so is heard, others are not.
  @Test(arguments: [true, false])
  func routersAreHeard(isIPv4: Bool) throws {
    try inNamespace("icmp\(isIPv4 ? 4 : 6)") { namespace in
      let heard = try namespace.perform {
        var socket = try PathErrorSocket(isIPv4: isIPv4)
        var sender = try RawPacketSender()
        var heard: [PacketTooBig] = []
        for packet in isIPv4 ? Self.messages4 : Self.messages6 {
          let only = [0..<packet.count]
          #expect(sender.send(only.span, of: packet.span) == 1)
        }
        var epoll = try Epoll(capacity: 1)
        try epoll.add(socket.descriptor, .read, token: 0)
        let deadline = MonotonicTime.now() + 5_000_000_000
        while heard.isEmpty, MonotonicTime.now() < deadline {
          _ = epoll.wait(until: deadline)
          try socket.receive(limit: 16) { heard.append($0) }
        }
        return heard
      }
      let ends = isIPv4 ? ("10.0.0.1", "10.0.0.2") : ("fd01::1", "fd01::2")
      #expect(
        heard == [PacketTooBig(source: IPAddress(ends.0)!, destination: IPAddress(ends.1)!, mtu: 1400)])
    }
  }

  private static func sealed(_ bytes: [UInt8], at offset: Int, of range: Range<Int>, beside pseudo: [UInt8] = [])
    -> [UInt8]
  {
    var bytes = bytes
    let covered = pseudo + bytes[range]
    let sum = ~InternetChecksum.fold(InternetChecksum.sum(covered.span))
    bytes.replaceSubrange(offset..<offset + 2, with: [UInt8(sum >> 8), UInt8(sum & 255)])
    return bytes
  }

  /// Port unreachable, an echo, and then fragmentation needed.
  private static let messages4: [[UInt8]] = ([[3, 3], [8, 0], [3, 4]] as [[UInt8]]).map { kind in
    let quoted: [UInt8] =
      [0x45, 0, 0x05, 0xdc, 0, 0, 0x40, 0, 63, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2] + [
        0xc0, 0, 0x17, 0xc0, 5, 0xc8, 0, 0,
      ]
    let icmp: [UInt8] = kind + [0, 0, 0, 0, 0x05, 0x78] + quoted
    let header: [UInt8] = [0x45, 0, 0, UInt8(20 + icmp.count), 0, 0, 0, 0, 64, 1, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]
    return sealed(header + icmp, at: 22, of: 20..<20 + icmp.count)
  }

  /// No route, and then packet too big.
  private static let messages6: [[UInt8]] = ([[1, 0], [2, 0]] as [[UInt8]]).map { kind in
    let prefix: [UInt8] = [0xfd, 1] + [UInt8](repeating: 0, count: 13)
    let quoted: [UInt8] = [0x60, 0, 0, 0, 5, 0xb4, 17, 63] + prefix + [1] + prefix + [2]
    let icmp: [UInt8] = kind + [0, 0, 0, 0, 0x05, 0x78] + quoted
    let loopback = [UInt8](repeating: 0, count: 15) + [1]
    let header: [UInt8] = [0x60, 0, 0, 0, 0, UInt8(icmp.count), 58, 64] + loopback + loopback
    return sealed(
      header + icmp, at: 42, of: 40..<40 + icmp.count,
      beside: loopback + loopback + [0, 0, 0, UInt8(icmp.count), 0, 0, 0, 58])
  }
}
