// SPDX-License-Identifier: Apache-2.0

import ForwardingPlane
import Wire

/// Tunnels and router errors, written out byte by byte.
extension Frame {
  /// The IP packet of the frame, without what pads it.
  var ipPacket: [UInt8] {
    let ip = Frame.ipStart
    let length = bytes[ip] >> 4 == 4 ? Frame.word(bytes, ip + 2) : 40 + Frame.word(bytes, ip + 4)
    return Array(bytes[ip..<min(bytes.count, ip + length)])
  }

  /// The packet as a router passes it on.
  static func oneHopFurther(_ packet: [UInt8]) -> [UInt8] {
    var packet = packet
    guard packet[0] >> 4 == 4 else {
      packet[7] -= 1
      return packet
    }
    packet[8] -= 1
    packet[10...11] = [0, 0]
    let sum = checksum(Array(packet[..<(Int(packet[0] & 15) * 4)]))
    packet[10...11] = [UInt8(sum >> 8), UInt8(sum & 255)]
    return packet
  }

  /// The headers in front of a packet in a tunnel.
  static func outer(
    from source: IPAddress, to node: IPAddress, port: UInt16, destinationPort: UInt16 = Tunnel.port, payload: Int
  ) -> [UInt8] {
    let udp = big(port) + big(destinationPort) + big(UInt16(8 + payload)) + [0, 0]
    guard node.isIPv4 else {
      return [0x60, 0, 0, 0] + big(UInt16(8 + payload)) + [17, 64] + octets(source) + octets(node) + udp
    }
    var ip: [UInt8] =
      [0x45, 0] + big(UInt16(28 + payload)) + [0, 0, 0x40, 0, 64, 17, 0, 0] + octets(source) + octets(node)
    let sum = checksum(ip)
    ip[10...11] = [UInt8(sum >> 8), UInt8(sum & 255)]
    return ip + udp
  }

  /// A frame to the node under test that carries `packet`, an IP packet.
  static func carrying(_ packet: [UInt8], to mac: MACAddress = Addresses.ownMAC) -> Frame {
    let type: [UInt8] = packet[0] >> 4 == 4 ? [0x08, 0x00] : [0x86, 0xdd]
    return Frame(bytes: mac.bytes + Addresses.routerMAC.bytes + type + packet)
  }

  /// A router's error about a packet that the service sent to the client: "fragmentation needed" or "packet too big" unless
  /// another type is given.
  static func routerError(_ flow: FlowTuple, router: IPAddress, type: UInt8? = nil) -> Frame {
    let quoted = Array(tcp(from: flow.service, to: flow.client, flags: .ack).ipPacket.prefix(48))
    if flow.service.address.isIPv4 {
      let icmp: [UInt8] = [type ?? 3, 4, 0, 0, 0, 0, 0x05, 0x14] + quoted.prefix(28)
      var ip: [UInt8] =
        [0x45, 0] + big(UInt16(20 + icmp.count)) + [0, 0, 0, 0, 60, 1, 0, 0] + octets(router)
        + octets(flow.service.address)
      let sum = checksum(ip)
      ip[10...11] = [UInt8(sum >> 8), UInt8(sum & 255)]
      return carrying(ip + icmp)
    }
    let icmp: [UInt8] = [type ?? 2, 0, 0, 0, 0, 0, 0x05, 0x14] + quoted
    return carrying(
      [0x60, 0, 0, 0] + big(UInt16(icmp.count)) + [58, 60] + octets(router) + octets(flow.service.address) + icmp)
  }

  static func octets(_ address: IPAddress) -> [UInt8] {
    let words = [address.high, address.low].flatMap { word in
      (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) }
    }
    return address.isIPv4 ? Array(words[12...]) : words
  }

  static func big(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 255)] }

  static func word(_ bytes: [UInt8], _ offset: Int) -> Int { Int(bytes[offset]) << 8 | Int(bytes[offset + 1]) }

  /// RFC 1071, of an even number of bytes.
  static func checksum(_ bytes: [UInt8]) -> UInt16 {
    var sum = stride(from: 0, to: bytes.count, by: 2).reduce(0) { $0 + word(bytes, $1) }
    while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
    return ~UInt16(sum)
  }
}
