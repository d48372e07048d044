// SPDX-License-Identifier: Apache-2.0

import CLinux
import Clibmnl
import Glibc
public import Wire

/// What this cluster puts into a node's network configuration is marked by one protocol number, so that it can be told from
/// everything else and a start can remove what a killed process left.
public enum NetlinkTag {
  /// For addresses, routes and rules; free in iproute2's rt_protos.
  public static let backEnd: UInt8 = 0x68
}

/// One address of an interface.
public struct InterfaceAddress: Hashable, Sendable, BitwiseCopyable {
  public var address: IPAddress
  public var prefixLength: UInt8
  public var interface: UInt32
  /// Who put it there (IFA_PROTO); 0 when unknown. `NetlinkTag.backEnd` is ours.
  public var tag: UInt8
}

extension NetlinkSocket {
  /// All addresses of the network namespace. Needs no capability.
  public mutating func addresses() throws(SystemError) -> [InterfaceAddress] {
    let request = NetlinkRequest(type: Int32(RTM_GETADDR), flags: NLM_F_DUMP)
    request.putHeader(ifaddrmsg())
    var result: [InterfaceAddress] = []
    try exchange(request, call: "RTM_GETADDR") { reply in
      let attributes = reply.attributes(after: MemoryLayout<ifaddrmsg>.size)
      // IFA_LOCAL is the own address of point-to-point links, where IFA_ADDRESS is the peer's.
      guard let address = reply.address(attributes[2]) ?? reply.address(attributes[1]) else { return }
      let tag = attributes[11].map { reply.native(at: $0.lowerBound, as: UInt8.self) } ?? 0
      result.append(
        InterfaceAddress(
          address: address, prefixLength: reply.native(at: 1), interface: reply.native(at: 4), tag: tag))
    }
    return result
  }

  /// Adds an address of its own to an interface: usable at once (no duplicate address detection), with no prefix route, and
  /// not chosen as the source of connections of this node (host scope; IPv6: deprecated).
  ///
  /// - Throws: EEXIST when the interface has it, EPERM without CAP_NET_ADMIN.
  public mutating func add(
    _ address: IPAddress, to interface: NetworkInterface, tag: UInt8
  ) throws(SystemError) {
    let request = NetlinkRequest(type: Int32(RTM_NEWADDR), flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
    request.putHeader(header(address, interface.index))
    request.put(2, address)
    request.put(1, address)
    // IFA_F_NODAD | IFA_F_NOPREFIXROUTE
    request.put(8, UInt32(0x02 | 0x200))
    request.put(11, tag)
    if address.isIPv4 {
      request.put(3, "\(interface.name):handoff")
    } else {
      // struct ifa_cacheinfo: preferred lifetime 0, valid for ever.
      let lifetime: [UInt8] = [0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]
      request.put(6, lifetime.span)
    }
    do {
      try exchange(request, call: "RTM_NEWADDR")
    } catch {
      throw error.on("\(address) at \(interface.name)")
    }
  }

  /// - Throws: EADDRNOTAVAIL when the interface does not have it.
  public mutating func remove(_ address: IPAddress, from interface: UInt32) throws(SystemError) {
    let request = NetlinkRequest(type: Int32(RTM_DELADDR), flags: NLM_F_ACK)
    request.putHeader(header(address, interface))
    request.put(2, address)
    request.put(1, address)
    do {
      try exchange(request, call: "RTM_DELADDR")
    } catch {
      throw error.on("\(address)")
    }
  }

  private func header(_ address: IPAddress, _ interface: UInt32) -> ifaddrmsg {
    var header = ifaddrmsg()
    header.ifa_family = address.family
    header.ifa_prefixlen = address.hostPrefix
    header.ifa_scope = UInt8(RT_SCOPE_HOST.rawValue)
    header.ifa_index = interface
    return header
  }
}
