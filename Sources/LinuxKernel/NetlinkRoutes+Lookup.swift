// SPDX-License-Identifier: Apache-2.0

import CLinux
import Clibmnl
import Glibc
public import Wire

/// Where the kernel would send a packet.
public struct RouteDecision: Hashable, Sendable {
  /// Index of the interface.
  public var interface: UInt32
  /// The address is a neighbour on the interface's link: nobody routes in between.
  public var isOnLink: Bool
  /// The address is this node's own.
  public var isLocal: Bool
  /// Bytes of the longest packet, when the route says so or the kernel has learnt it; nil: that of the interface.
  public var mtu: Int?
}

extension NetlinkSocket {
  /// `ip route get ADDRESS`.
  ///
  /// - Throws: ENETUNREACH and the like when there is no route.
  public mutating func route(to address: IPAddress) throws(SystemError) -> RouteDecision {
    let request = NetlinkRequest(type: Int32(RTM_GETROUTE), flags: 0)
    var header = rtmsg()
    header.rtm_family = address.family
    header.rtm_dst_len = address.hostPrefix
    request.putHeader(header)
    request.put(1, address)  // RTA_DST
    var found: RouteDecision?
    do {
      try exchange(request, call: "RTM_GETROUTE", single: true) { reply in
        let attributes = reply.attributes(after: MemoryLayout<rtmsg>.size)
        guard let interface = attributes[4] else { return }  // RTA_OIF
        // RTA_GATEWAY, or RTA_VIA for a gateway of the other family.
        let isOnLink = attributes[5] == nil && attributes[18] == nil
        found = RouteDecision(
          interface: reply.native(at: interface.lowerBound), isOnLink: isOnLink,
          isLocal: reply.native(at: 7, as: UInt8.self) == UInt8(RTN_LOCAL), mtu: reply.routeMTU(attributes[8]))
      }
    } catch {
      throw error.on("\(address)")
    }
    guard let found else { throw SystemError("RTM_GETROUTE", "\(address)", errno: ENETUNREACH) }
    return found
  }
}

extension NetlinkReply {
  /// RTAX_MTU in the nested RTA_METRICS.
  fileprivate func routeMTU(_ metrics: Range<Int>?) -> Int? {
    guard let metrics else { return nil }
    let nested = NetlinkReply(type: type, body: Array(body[metrics]))
    guard let mtu = nested.attributes(after: 0)[2] else { return nil }
    let value = nested.native(at: mtu.lowerBound, as: UInt32.self)
    return value == 0 ? nil : Int(value)
  }
}
