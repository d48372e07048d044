// SPDX-License-Identifier: Apache-2.0

import CLinux
import Clibmnl
import Glibc
public import Wire

/// A network interface of the calling thread's network namespace.
public struct NetworkInterface: Hashable, Sendable {
  public var name: String
  /// The number by which system calls name it, from 1.
  public var index: UInt32
  /// Zero for interfaces without an Ethernet address, as the loopback interface.
  public var mac: MACAddress
  /// Bytes of the largest IP packet.
  public var mtu: Int
  public var isUp: Bool
  public var addresses: [InterfaceAddress]

  /// All interfaces with their addresses, by index.
  public static func all() throws(SystemError) -> [NetworkInterface] {
    var netlink = try NetlinkSocket(.route)
    return try netlink.interfaces()
  }

  /// The interface of that name, nil when there is none.
  public static func named(_ name: String) throws(SystemError) -> NetworkInterface? {
    try all().first { $0.name == name }
  }

  /// The interface that has this address, nil when none has it.
  public static func having(_ address: IPAddress) throws(SystemError) -> NetworkInterface? {
    try all().first { $0.addresses.contains { $0.address == address } }
  }
}

extension NetlinkSocket {
  /// All interfaces with their addresses, by index.
  public mutating func interfaces() throws(SystemError) -> [NetworkInterface] {
    let addresses = try self.addresses()
    let request = NetlinkRequest(type: Int32(RTM_GETLINK), flags: NLM_F_DUMP)
    request.putHeader(ifinfomsg())
    var interfaces: [NetworkInterface] = []
    try exchange(request, call: "RTM_GETLINK") { reply in
      let index = reply.native(at: 4, as: UInt32.self)
      let attributes = reply.attributes(after: MemoryLayout<ifinfomsg>.size)
      // IFLA_IFNAME, with its final zero byte.
      guard let name = attributes[3], name.count > 1 else { return }
      var mac = MACAddress(bits: 0)
      // IFLA_ADDRESS
      if let range = attributes[1], range.count == 6 {
        mac = MACAddress(bits: reply.body[range].reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
      }
      // IFLA_MTU
      let mtu = attributes[4].map { Int(reply.native(at: $0.lowerBound, as: UInt32.self)) } ?? 0
      let flags = reply.native(at: 8, as: UInt32.self)
      interfaces.append(
        NetworkInterface(
          name: String(decoding: reply.body[name].dropLast(), as: UTF8.self), index: index, mac: mac, mtu: mtu,
          isUp: flags & UInt32(IFF_UP) != 0, addresses: addresses.filter { $0.interface == index }))
    }
    return interfaces.sorted { $0.index < $1.index }
  }

  /// The interface with an index, nil when there is none.
  public mutating func interface(_ index: UInt32) throws(SystemError) -> NetworkInterface? {
    try interfaces().first { $0.index == index }
  }
}
