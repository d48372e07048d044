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
  /// Bytes of the longest packet on that interface.
  let linkMTU: Int

  /// Bytes of the longest packet that clients are ever told to send: what Ethernet carries everywhere.
  static let longestPacket = 1500

  /// Also looks anew what the way takes, as far as this node knows it.
  ///
  /// - Throws: `.system` when no route leads to the node, `.tooManyTunnels`.
  func find(_ registration: BackEndRegistration, now: UInt64) throws(ForwardingPlaneError) -> FlowEntry.Action {
    if registration.address == internalAddress { return .deliverLocally }
    if mode == .never { return .forward(to: registration.mac) }
    let route: RouteDecision
    var mtu = Int.max
    do throws(SystemError) {
      var netlink = try NetlinkSocket(.route)
      route = try netlink.route(to: registration.address)
      if let interface = try netlink.interface(route.interface) { mtu = interface.mtu }
    } catch {
      throw .system(error)
    }
    if mode == .auto, route.isOnLink, route.interface == interface { return .forward(to: registration.mac) }
    return .tunnel(
      try tunnels.number(
        of: Tunnel(
          node: registration.address, source: internalAddress, interface: route.interface,
          mtu: min(mtu, route.mtu ?? mtu)), now: now))
  }

  /// Bytes of the longest packet that clients are told to send. Nobody knows at the handshake which node the connection goes
  /// to, and a node behind a tunnel may come later.
  ///
  /// - Parameter reaches: the ways to all nodes that are there.
  func longestPacket(to reaches: some Sequence<FlowEntry.Action>) -> Int {
    let link = min(ReachFinder.longestPacket, linkMTU)
    var longest = mode == .never ? link : link - Tunnel.overhead(overIPv4: internalAddress.isIPv4)
    for case .tunnel(let number) in reaches {
      if let tunnel = tunnels[number] { longest = min(longest, tunnel.room) }
    }
    return longest
  }
}
