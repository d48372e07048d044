// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import Glibc
import LinuxKernel
public import Wire

/// The end of the tunnels at a server node: a BPF program at tc ingress that takes clients' packets out of the datagrams
/// in which a distributor on another network sent them.
///
/// The program and its maps live as long as it is attached, also when this process dies; the next one puts its own in the
/// place. All calls are for the thread that owns this value, in the interface's network namespace; `counters` is for any.
public struct TunnelExit: ~Copyable, Sendable {
  let installed: InstalledProgram
  var program: SharedDescriptor { installed.program }
  private let peers: AddressSet
  private let served: AddressSet
  /// What the program has done with the packets that it saw.
  public let counters: TunnelCounterArray

  /// Loads the program and attaches it, in place of one that a dead process left. Nothing passes the tunnels yet.
  ///
  /// - Throws: every case that is about set-up; nothing is left attached or created then.
  public static func attach(
    interface: String, _ attachment: TrafficAttachment = .auto
  ) throws(ForwardingPlaneError) -> TunnelExit {
    let hook = try TrafficHook(interface: interface, place: .tunnelExit, attachment)
    let loaded = try LoadedTunnelExit.load(for: interface)
    let counters = try TunnelCounterArray(loaded.counters)
    return TunnelExit(
      installed: try hook.install(loaded.program), peers: AddressSet(loaded.peers, "distributors"),
      served: AddressSet(loaded.served, "served addresses"), counters: counters)
  }

  /// Datagrams of these distributors are taken, and no others.
  public func setPeers(_ addresses: Set<IPAddress>) throws(ForwardingPlaneError) { try peers.replace(by: addresses) }

  /// Packets for these addresses may come out of the tunnels.
  public func setServed(_ addresses: Set<IPAddress>) throws(ForwardingPlaneError) { try served.replace(by: addresses) }

  /// Removes the program, and the clsact qdisc when nothing else uses it. A program that
  /// somebody else has put in its place meanwhile stays.
  public consuming func detach() throws(ForwardingPlaneError) { try installed.remove() }

  /// Removes what a killed process left, for a start without tunnels.
  public static func removeLeftovers(interface: String) throws(ForwardingPlaneError) {
    try TrafficHook(interface: interface, place: .tunnelExit).removeLeftovers()
  }
}

/// The program with its maps, in the kernel.
private struct LoadedTunnelExit {
  var program: SharedDescriptor
  var peers: SharedDescriptor
  var served: SharedDescriptor
  var counters: SharedDescriptor

  static func load(for interface: String) throws(ForwardingPlaneError) -> LoadedTunnelExit {
    do {
      let object = try BPFObject(TunnelExitProgramObject.bytes, name: "handoff_tunnel")
      object.check("tunnel_peers", handoff_address.self, UInt32.self)
      object.check("tunnel_served", handoff_address.self, UInt32.self)
      object.check("tunnel_counts", UInt32.self, tunnel_counters.self)
      try object.load()
      return LoadedTunnelExit(
        program: try object.program("handoff_decapsulate"), peers: try object.map("tunnel_peers"),
        served: try object.map("tunnel_served"), counters: try object.map("tunnel_counts"))
    } catch let failure as BPFLoadFailure {
      throw ForwardingPlaneError(failure, interface: interface)
    } catch let error as SystemError {
      throw .system(error)
    } catch {
      preconditionFailure("\(error) is of no known type")
    }
  }
}

/// A set of addresses in a BPF hash map.
private struct AddressSet: Sendable {
  private let map: SharedDescriptor
  private let what: String

  init(_ map: SharedDescriptor, _ what: String) {
    self.map = map
    self.what = what
  }

  func replace(by wanted: Set<IPAddress>) throws(ForwardingPlaneError) {
    // Removed first: the map may have no room for both.
    for address in all() where !wanted.contains(address) {
      var key = handoff_address(address)
      _ = unsafe bpf_map_delete_elem(map.raw, &key)
    }
    for address in wanted {
      var key = handoff_address(address)
      var value: UInt32 = 1
      do {
        _ = try LibBPF.call("bpf_map_update_elem") { unsafe bpf_map_update_elem(map.raw, &key, &value, 0) }
      } catch {
        if error.errno == E2BIG { throw .tooMany(what, limit: Int(TUNNEL_MAX_PEERS)) }
        throw .system(error.on("\(what): \(address)"))
      }
    }
  }

  private func all() -> [IPAddress] {
    var addresses: [IPAddress] = []
    var key = handoff_address()
    var next = handoff_address()
    var result = unsafe bpf_map_get_next_key(map.raw, nil, &next)
    while result == 0 {
      addresses.append(next.address)
      key = next
      result = unsafe bpf_map_get_next_key(map.raw, &key, &next)
    }
    return addresses
  }
}
