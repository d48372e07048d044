// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import Glibc
import LinuxKernel
import Synchronization
public import Wire

/// A way from this distributor to a server node on another network: UDP datagrams that carry the clients' IP packets.
public struct Tunnel: Hashable, Sendable, BitwiseCopyable {
  /// The server node's internal address.
  public var node: IPAddress
  /// This node's internal address, of the same family.
  public var source: IPAddress
  /// Index of the interface that leads to the node.
  public var interface: UInt32

  public init(node: IPAddress, source: IPAddress, interface: UInt32) {
    self.node = node
    self.source = source
    self.interface = interface
  }

  /// The destination port of the datagrams: that of Generic UDP Encapsulation.
  public static var port: UInt16 { UInt16(TUNNEL_PORT) }

  /// Bytes that the outer headers take: 28 over IPv4, 48 over IPv6.
  public static func overhead(overIPv4: Bool) -> Int { (overIPv4 ? 20 : 40) + 8 }
}

/// The tunnels of the forwarding program, by the number that flow entries name.
///
/// A number stays with its node as long as the table lives, over restarts of the process too: flows name it. Any thread may
/// call.
public final class TunnelTable: Sendable {
  private let map: SharedDescriptor
  private let changing = Mutex(())

  init(map: SharedDescriptor) { self.map = map }

  /// The number of the tunnel to a node, with the way there as given.
  ///
  /// - Throws: `.tooManyTunnels` when all numbers are taken.
  public func number(of tunnel: Tunnel) throws(ForwardingPlaneError) -> UInt16 {
    let number = changing.withLock { _ -> UInt16? in
      guard let number = find(tunnel.node) else { return nil }
      write(tunnel, number)
      return number
    }
    guard let number else { throw .tooManyTunnels(limit: Int(TUNNEL_MAX_NODES)) }
    return number
  }

  public subscript(number: UInt16) -> Tunnel? {
    var index = UInt32(number)
    var entry = tunnel_node()
    guard unsafe bpf_map_lookup_elem(map.raw, &index, &entry) == 0, entry.interface != 0 else { return nil }
    return Tunnel(node: entry.node.address, source: entry.source.address, interface: entry.interface)
  }

  /// The node's number, else the first that is free.
  private func find(_ node: IPAddress) -> UInt16? {
    for number in 0..<UInt16(TUNNEL_MAX_NODES) {
      guard let tunnel = self[number] else { return number }
      if tunnel.node == node { return number }
    }
    return nil
  }

  private func write(_ tunnel: Tunnel, _ number: UInt16) {
    var index = UInt32(number)
    var entry = tunnel_node(
      node: handoff_address(tunnel.node), source: handoff_address(tunnel.source), interface: tunnel.interface)
    let result = unsafe bpf_map_update_elem(map.raw, &index, &entry, 0)
    precondition(result == 0, "writing an existing array element failed with \(result)")
  }
}
