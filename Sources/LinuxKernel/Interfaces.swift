// SPDX-License-Identifier: Apache-2.0

import Clibmnl
import Glibc
public import Wire

/// A network interface of the calling thread's network namespace.
public struct NetworkInterface: Hashable, Sendable {
  public struct Address: Hashable, Sendable {
    public var address: IPAddress
    /// Bits of the network part, 0 to 32 or 0 to 128.
    public var prefixLength: Int
  }

  /// The number by which system calls name it, from 1.
  public var index: UInt32
  public var name: String
  /// Zero for interfaces without an Ethernet address, as the loopback interface.
  public var mac: MACAddress
  /// Bytes of the largest IP packet.
  public var mtu: Int
  public var isUp: Bool
  public var addresses: [Address]

  /// All interfaces with their addresses, by index.
  public static func all() throws(SystemError) -> [NetworkInterface] {
    let links = try readLinks()
    let addresses = try readAddresses()
    return links.sorted { $0.index < $1.index }.map { link in
      var link = link
      link.addresses = addresses.filter { $0.index == link.index }.map(\.address)
      return link
    }
  }

  /// The interface of that name, nil when there is none.
  public static func named(_ name: String) throws(SystemError) -> NetworkInterface? {
    try all().first { $0.name == name }
  }

  /// The interface that has this address, nil when none has it.
  public static func having(_ address: IPAddress) throws(SystemError) -> NetworkInterface? {
    try all().first { $0.addresses.contains { $0.address == address } }
  }

  private static func readLinks() throws(SystemError) -> [NetworkInterface] {
    var links: [NetworkInterface] = []
    let header = ifinfomsg()
    try unsafe RouteNetlink.dump("RTM_GETLINK", type: Int(RTM_GETLINK), header: header, reset: { links = [] }) { message in
      guard unsafe Int(message.pointee.nlmsg_type) == Int(RTM_NEWLINK) else { return }
      let header = unsafe mnl_nlmsg_get_payload(message)!.load(as: ifinfomsg.self)
      var link = NetworkInterface(
        index: UInt32(header.ifi_index), name: "", mac: MACAddress(bits: 0), mtu: 0,
        isUp: header.ifi_flags & UInt32(IFF_UP) != 0, addresses: [])
      unsafe RouteNetlink.attributes(of: message, after: MemoryLayout<ifinfomsg>.size) { type, payload in
        switch type {
        case IFLA_IFNAME:
          link.name = unsafe String(decoding: payload.prefix { $0 != 0 }, as: UTF8.self)
        case IFLA_MTU where payload.count == 4:
          link.mtu = Int(unsafe payload.loadUnaligned(as: UInt32.self))
        case IFLA_ADDRESS where payload.count == 6:
          link.mac = MACAddress(bits: unsafe payload.reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
        default: break
        }
      }
      links.append(link)
    }
    return links
  }

  private static func readAddresses() throws(SystemError) -> [(index: UInt32, address: Address)] {
    var found: [(index: UInt32, address: Address)] = []
    let header = ifaddrmsg()
    try unsafe RouteNetlink.dump("RTM_GETADDR", type: Int(RTM_GETADDR), header: header, reset: { found = [] }) { message in
      guard unsafe Int(message.pointee.nlmsg_type) == Int(RTM_NEWADDR) else { return }
      let header = unsafe mnl_nlmsg_get_payload(message)!.load(as: ifaddrmsg.self)
      var (own, peer): (IPAddress?, IPAddress?) = (nil, nil)
      unsafe RouteNetlink.attributes(of: message, after: MemoryLayout<ifaddrmsg>.size) { type, payload in
        switch type {
        case IFA_LOCAL: own = unsafe ipAddress(payload)
        case IFA_ADDRESS: peer = unsafe ipAddress(payload)
        default: break
        }
      }
      // On a point-to-point link IFA_ADDRESS is the peer's; IPv6 has IFA_ADDRESS only.
      guard let address = own ?? peer else { return }
      found.append((header.ifa_index, Address(address: address, prefixLength: Int(header.ifa_prefixlen))))
    }
    return found
  }

  private static func ipAddress(_ bytes: UnsafeRawBufferPointer) -> IPAddress? {
    switch bytes.count {
    case 4: IPAddress(ipv4: UInt32(bigEndian: unsafe bytes.loadUnaligned(as: UInt32.self)))
    case 16:
      IPAddress(
        high: UInt64(bigEndian: unsafe bytes.loadUnaligned(as: UInt64.self)),
        low: UInt64(bigEndian: unsafe bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
    default: nil
    }
  }
}
