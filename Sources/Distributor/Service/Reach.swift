// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DistributorCore
import ForwardingPlane
import LinuxKernel
import Wire

/// When clients' packets go to server nodes through a tunnel.
public enum TunnelMode: String, Sendable, Hashable, CaseIterable {
  /// To nodes that are not neighbours on the interface on which clients' packets arrive.
  case auto
  /// To every node but this one.
  case always
  /// To none: the network is one link. Clients are told the full segment size.
  case never
}

/// How clients' packets get to a server node from here.
struct ReachFinder: Sendable {
  let mode: TunnelMode
  let internalAddress: IPAddress
  /// Index of the interface on which clients' packets arrive.
  let interface: UInt32
  let tunnels: TunnelTable

  /// - Throws: `.system` when no route leads to the node, `.tooManyTunnels`.
  func find(_ registration: BackEndRegistration) throws(ForwardingPlaneError) -> FlowEntry.Action {
    if registration.address == internalAddress { return .deliverLocally }
    if mode == .never { return .forward(to: registration.mac) }
    let route: RouteDecision
    do throws(SystemError) {
      var netlink = try NetlinkSocket(.route)
      route = try netlink.route(to: registration.address)
    } catch {
      throw .system(error)
    }
    if mode == .auto, route.isOnLink, route.interface == interface { return .forward(to: registration.mac) }
    return .tunnel(
      try tunnels.number(
        of: Tunnel(node: registration.address, source: internalAddress, interface: route.interface)))
  }
}

extension ResponderConfiguration {
  /// Clients are told a segment size that leaves room for a tunnel's headers, as nobody knows at the handshake which node
  /// the connection goes to.
  mutating func leaveRoom(for configuration: DistributorConfiguration) {
    if configuration.tunnel == .never { return }
    let overhead = UInt16(Tunnel.overhead(overIPv4: configuration.internalAddress.isIPv4))
    maximumSegmentSizeIPv4 -= overhead
    maximumSegmentSizeIPv6 -= overhead
  }
}
