// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import Glibc
import LinuxKernel

/// The maps of the program.
struct PlaneMaps: Sendable {
  var flows: SharedDescriptor
  var services: SharedDescriptor
  var counters: SharedDescriptor
  var state: SharedDescriptor
  var handshake: SharedDescriptor
  var alive: SharedDescriptor
  var rings: SharedDescriptor
  var tunnels: SharedDescriptor
}

/// The maps of handoffs by the program itself. They belong to one process: a successor makes new ones, since leases end with
/// the workers that got them.
struct LeaseMaps: Sendable {
  var workers: SharedDescriptor
  var targets: SharedDescriptor
  var nodes: SharedDescriptor
  var claims: SharedDescriptor
}

/// The BPF program with its maps, in the kernel.
struct LoadedProgram: Sendable {
  static let programName = "handoff_forward"
  static let mapNames = (
    flows: "handoff_flows", services: "handoff_service", counters: "handoff_counts", state: "handoff_state",
    handshake: "handoff_shake", alive: "handoff_alive", rings: "handoff_rings", tunnels: "handoff_tunnels"
  )
  static let leaseMapNames = (
    workers: "lease_workers", targets: "lease_targets", nodes: "lease_nodes", claims: "lease_claims"
  )

  var program: SharedDescriptor
  var maps: PlaneMaps
  var leaseMaps: LeaseMaps

  static func embeddedObject() -> [UInt8] { ForwardingProgramObject.bytes }

  /// Loads an object, with maps of its own or with `existing` ones.
  ///
  /// - Parameters:
  ///   - interface: for the message of an error.
  ///   - capacity: flows of a table of its own.
  ///   - withFlows: whether the flow table is taken from `existing` as well.
  static func load(
    _ bytes: [UInt8] = embeddedObject(), for interface: String, capacity: Int, reusing existing: PlaneMaps?,
    withFlows: Bool = true
  ) throws(ForwardingPlaneError) -> LoadedProgram {
    let object: BPFObject
    do throws(SystemError) {
      object = try BPFObject(bytes, name: "handoff")
    } catch {
      throw .programRejected(error, log: "")
    }
    checkLayout(object)
    do throws(SystemError) {
      try settleMaps(object, capacity: UInt32(capacity), reusing: existing, withFlows: withFlows)
    } catch {
      throw .mapsRefused(error)
    }
    do throws(BPFLoadFailure) {
      try object.load()
    } catch {
      throw ForwardingPlaneError(error, interface: interface)
    }
    do throws(SystemError) {
      return LoadedProgram(
        program: try object.program(programName), maps: try PlaneMaps(of: object), leaseMaps: try LeaseMaps(of: object))
    } catch {
      throw .system(error)
    }
  }

  private static func checkLayout(_ object: borrowing BPFObject) {
    object.check(mapNames.flows, handoff_flow_key.self, handoff_flow_entry.self)
    object.check(mapNames.services, handoff_service_key.self, UInt32.self)
    object.check(mapNames.counters, UInt32.self, handoff_counters.self)
    object.check(mapNames.state, UInt32.self, handoff_state.self)
    object.check(mapNames.handshake, UInt32.self, handoff_handshake.self)
    object.check(mapNames.alive, UInt32.self, UInt64.self)
    object.check(mapNames.rings, UInt32.self, UInt32.self)
    object.check(mapNames.tunnels, UInt32.self, tunnel_node.self)
    object.check(leaseMapNames.workers, UInt32.self, lease_worker.self)
    object.check(leaseMapNames.targets, lease_target_key.self, lease_target.self)
    object.check(leaseMapNames.nodes, lease_node_key.self, lease_node.self)
    object.check(leaseMapNames.claims, handoff_flow_key.self, UInt32.self)
  }

  private static func settleMaps(
    _ object: borrowing BPFObject, capacity: UInt32, reusing existing: PlaneMaps?, withFlows: Bool
  ) throws(SystemError) {
    if let maps = existing { try share(maps, with: object, withFlows: withFlows) }
    if existing == nil || !withFlows { try object.resize(mapNames.flows, to: capacity) }
  }

  /// Before loading: maps that are there already take the place of an object's own.
  static func share(
    _ maps: PlaneMaps, with object: borrowing BPFObject, withFlows: Bool = true
  ) throws(SystemError) {
    try object.reuse(mapNames.services, maps.services)
    try object.reuse(mapNames.counters, maps.counters)
    try object.reuse(mapNames.state, maps.state)
    try object.reuse(mapNames.handshake, maps.handshake)
    try object.reuse(mapNames.alive, maps.alive)
    try object.reuse(mapNames.rings, maps.rings)
    try object.reuse(mapNames.tunnels, maps.tunnels)
    if withFlows { try object.reuse(mapNames.flows, maps.flows) }
  }
}

extension PlaneMaps {
  fileprivate init(of object: borrowing BPFObject) throws(SystemError) {
    let names = LoadedProgram.mapNames
    self.init(
      flows: try object.map(names.flows), services: try object.map(names.services),
      counters: try object.map(names.counters), state: try object.map(names.state),
      handshake: try object.map(names.handshake), alive: try object.map(names.alive),
      rings: try object.map(names.rings), tunnels: try object.map(names.tunnels))
  }
}

extension LeaseMaps {
  fileprivate init(of object: borrowing BPFObject) throws(SystemError) {
    let names = LoadedProgram.leaseMapNames
    self.init(
      workers: try object.map(names.workers), targets: try object.map(names.targets),
      nodes: try object.map(names.nodes), claims: try object.map(names.claims))
  }
}
