// SPDX-License-Identifier: Apache-2.0

import Clibmnl
public import Wire

/// What a node must know of one of its interfaces.
public struct NetworkInterface: Hashable, Sendable {
  public var name: String
  /// The number by which system calls name it, from 1.
  public var index: UInt32
  /// All zero for interfaces without Ethernet addresses.
  public var mac: MACAddress
  /// Bytes of the largest IP packet.
  public var mtu: Int
  /// Administratively up (IFF_UP).
  public var isUp: Bool

  public init(name: String, index: UInt32, mac: MACAddress, mtu: Int, isUp: Bool) {
    self.name = name
    self.index = index
    self.mac = mac
    self.mtu = mtu
    self.isUp = isUp
  }
}

extension NetlinkSocket {
  /// All interfaces of the network namespace, in the kernel's order. Needs no capability.
  public mutating func interfaces() throws(SystemError) -> [NetworkInterface] {
    let request = NetlinkRequest(type: Int32(RTM_GETLINK), flags: NLM_F_DUMP)
    request.putHeader(ifinfomsg())
    var result: [NetworkInterface] = []
    try exchange(request, call: "RTM_GETLINK") { reply in
      let attributes = reply.attributes(after: MemoryLayout<ifinfomsg>.size)
      // IFLA_IFNAME, with its final zero byte.
      guard let name = attributes[3], name.count > 1 else { return }
      var mac = MACAddress(bits: 0)
      // IFLA_ADDRESS
      if let range = attributes[1], range.count == 6 {
        mac = MACAddress(bits: reply.body[range].reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
      }
      // IFLA_MTU
      let mtu = attributes[4].map { reply.native(at: $0.lowerBound, as: UInt32.self) } ?? 0
      result.append(
        NetworkInterface(
          name: String(decoding: reply.body[name].dropLast(), as: UTF8.self),
          index: reply.native(at: 4), mac: mac, mtu: Int(mtu),
          // ifi_flags; IFF_UP is its lowest bit.
          isUp: reply.native(at: 8, as: UInt32.self) & 1 != 0))
    }
    return result
  }

  /// The interface with an index, nil when there is none.
  public mutating func interface(_ index: UInt32) throws(SystemError) -> NetworkInterface? {
    try interfaces().first { $0.index == index }
  }

  /// The interface of a name, nil when there is none.
  public mutating func interface(named name: String) throws(SystemError) -> NetworkInterface? {
    try interfaces().first { $0.name == name }
  }

  /// The interface that has an address, nil when none has it.
  public mutating func interface(having address: IPAddress) throws(SystemError) -> NetworkInterface? {
    guard let found = try addresses().first(where: { $0.address == address }) else { return nil }
    return try interface(found.interface)
  }

  /// Whether an interface's clsact qdisc has a filter, at ingress or egress.
  public mutating func hasTrafficFilters(interface index: UInt32) throws(SystemError) -> Bool {
    var count = 0
    // TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS and TC_H_MIN_EGRESS), include/uapi/linux/pkt_sched.h.
    for parent: UInt32 in [0xffff_fff2, 0xffff_fff3] {
      let request = NetlinkRequest(type: Int32(RTM_GETTFILTER), flags: NLM_F_DUMP)
      var header = tcmsg()
      header.tcm_ifindex = Int32(bitPattern: index)
      header.tcm_parent = parent
      request.putHeader(header)
      try exchange(request, call: "RTM_GETTFILTER") { _ in count += 1 }
    }
    return count > 0
  }

  /// Brings an interface up.
  public mutating func setUp(interface index: UInt32) throws(SystemError) {
    let request = NetlinkRequest(type: Int32(RTM_NEWLINK), flags: NLM_F_ACK)
    var header = ifinfomsg()
    header.ifi_index = Int32(bitPattern: index)
    header.ifi_flags = 1  // IFF_UP
    header.ifi_change = 1
    request.putHeader(header)
    try exchange(request, call: "RTM_NEWLINK")
  }

  /// Bytes of the longest IPv6 packet into which the kernel joins received segments; nil where it does not say.
  public mutating func longestJoinedPacket(interface index: UInt32) throws(SystemError) -> Int? {
    let request = NetlinkRequest(type: Int32(RTM_GETLINK), flags: 0)
    var header = ifinfomsg()
    header.ifi_index = Int32(bitPattern: index)
    request.putHeader(header)
    var size: Int?
    try exchange(request, call: "RTM_GETLINK", single: true) { reply in
      // IFLA_GRO_MAX_SIZE
      let attribute = reply.attributes(after: MemoryLayout<ifinfomsg>.size)[58]
      size = attribute.map { Int(reply.native(at: $0.lowerBound, as: UInt32.self)) }
    }
    return size
  }
}
