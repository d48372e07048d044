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
  /// Bytes of the longest packet that gets there, outer headers included; not more than the interface takes, whatever it is.
  public var mtu: Int

  public init(node: IPAddress, source: IPAddress, interface: UInt32, mtu: Int = 65_535) {
    self.node = node
    self.source = source
    self.interface = interface
    self.mtu = mtu
  }

  /// The destination port of the datagrams: that of Generic UDP Encapsulation.
  public static var port: UInt16 { UInt16(TUNNEL_PORT) }

  /// Bytes that the outer headers take: 28 over IPv4, 48 over IPv6.
  public static func overhead(overIPv4: Bool) -> Int { (overIPv4 ? 20 : 40) + 8 }

  /// Bytes of the longest client's packet that gets there.
  public var room: Int { mtu - Tunnel.overhead(overIPv4: node.isIPv4) }
}

/// The tunnels of the forwarding program, by the number that flow entries name.
///
/// A number stays with its node as long as the table lives, over restarts of the process too: flows name it. Any thread may
/// call.
public final class TunnelTable: Sendable {
  private let map: SharedDescriptor
  /// By number: what this process knows of the ways. The table itself has what follows of it.
  private let ways = Mutex<[UInt16: PathMTU]>([:])

  init(map: SharedDescriptor) { self.map = map }

  /// The number of the tunnel to a node, with the way there as given: its MTU is that of link and route, and what routers
  /// have told lately goes on to hold.
  ///
  /// - Parameter now: nanoseconds of `MonotonicTime`.
  /// - Throws: `.tooManyTunnels` when all numbers are taken.
  public func number(of tunnel: Tunnel, now: UInt64) throws(ForwardingPlaneError) -> UInt16 {
    let number = ways.withLock { ways -> UInt16? in
      guard let number = find(tunnel.node) else { return nil }
      var way = ways[number] ?? PathMTU(known: tunnel.mtu)
      // What a predecessor had learnt.
      if ways[number] == nil, let left = self[number] {
        way.learn(left.mtu, overIPv4: tunnel.node.isIPv4, now: now)
      }
      way.known = tunnel.mtu
      ways[number] = way
      write(tunnel, way, number)
      return number
    }
    guard let number else { throw .tooManyTunnels(limit: Int(TUNNEL_MAX_NODES)) }
    return number
  }

  /// The way as it is now.
  public subscript(number: UInt16) -> Tunnel? {
    var index = UInt32(number)
    var entry = tunnel_node()
    guard unsafe bpf_map_lookup_elem(map.raw, &index, &entry) == 0, entry.interface != 0 else { return nil }
    return Tunnel(
      node: entry.node.address, source: entry.source.address, interface: entry.interface, mtu: Int(entry.mtu))
  }

  /// A router has said that a packet from here was too long. What is about other packets is ignored.
  ///
  /// - Returns: the MTU of the way, when that is another one now.
  public func learn(_ report: PacketTooBig, now: UInt64) -> Int? {
    change { number, way in
      guard let tunnel = self[number], tunnel.node == report.destination, tunnel.source == report.source else { return }
      way.learn(report.mtu, overIPv4: tunnel.node.isIPv4, now: now)
    }.first
  }

  /// Forgets what routers have said too long ago.
  public func age(now: UInt64) { _ = change { $1.age(now: now) } }

  /// Returns the MTUs that are others now.
  private func change(_ body: (UInt16, inout PathMTU) -> Void) -> [Int] {
    ways.withLock { ways in
      var changed: [Int] = []
      for (number, old) in ways {
        var way = old
        body(number, &way)
        if way == old { continue }
        ways[number] = way
        guard way.effective != old.effective, let tunnel = self[number] else { continue }
        write(tunnel, way, number)
        changed.append(way.effective)
      }
      return changed
    }
  }

  /// The node's number, else the first that is free.
  private func find(_ node: IPAddress) -> UInt16? {
    for number in 0..<UInt16(TUNNEL_MAX_NODES) {
      guard let tunnel = self[number] else { return number }
      if tunnel.node == node { return number }
    }
    return nil
  }

  private func write(_ tunnel: Tunnel, _ way: PathMTU, _ number: UInt16) {
    var index = UInt32(number)
    var entry = tunnel_node(
      node: handoff_address(tunnel.node), source: handoff_address(tunnel.source), interface: tunnel.interface,
      mtu: UInt32(clamping: way.effective))
    let result = unsafe bpf_map_update_elem(map.raw, &index, &entry, 0)
    precondition(result == 0, "writing an existing array element failed with \(result)")
  }
}
