// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import Glibc
import LinuxKernel

/// What is attached at the hook when a process starts.
enum Predecessor {
  case none
  /// This program with maps that this release understands.
  case usable(PlaneMaps, capacity: Int, createdQdisc: Bool)
  /// This program, but its maps cannot be taken over.
  case unusable(AdoptionObstacle, createdQdisc: Bool)

  static func find(at hook: TrafficHook) throws(ForwardingPlaneError) -> Predecessor {
    guard let id = try hook.attachedProgram() else { return .none }
    let found: KernelProgram?
    do {
      found = try KernelProgram(id)
    } catch {
      if error.errno == EPERM { return .unusable(.notPermitted, createdQdisc: false) }
      throw .system(error.on("program \(id) at \(hook.interface)"))
    }
    // Nil: it went between the two calls.
    guard let program = found else { return .none }
    guard program.name == LoadedProgram.programName else {
      throw .hookTaken(interface: hook.interface, program: program.name)
    }
    var identifiers = InlineArray<16, UInt32>(repeating: 0)
    let count = try mapIdentifiers(of: program.program, &identifiers)
    return try maps(identifiers, count: count)
  }

  private static func mapIdentifiers(
    of program: SharedDescriptor, _ maps: inout InlineArray<16, UInt32>
  ) throws(ForwardingPlaneError) -> Int {
    var info = bpf_prog_info()
    var length = UInt32(MemoryLayout<bpf_prog_info>.size)
    let raw = program.raw
    do {
      // SAFETY: the kernel writes at most nr_map_ids identifiers, and the array outlives the call.
      _ = try unsafe withUnsafeMutableBytes(of: &maps) { maps throws(SystemError) in
        info.nr_map_ids = 16
        info.map_ids = UInt64(UInt(bitPattern: maps.baseAddress))
        return try LibBPF.call("bpf_obj_get_info_by_fd") { unsafe bpf_obj_get_info_by_fd(raw, &info, &length) }
      }
    } catch {
      throw .system(error)
    }
    return min(16, Int(info.nr_map_ids))
  }

  private static func maps(
    _ identifiers: InlineArray<16, UInt32>, count: Int
  ) throws(ForwardingPlaneError) -> Predecessor {
    var found: [String: FoundMap] = [:]
    for index in 0..<count {
      guard let map = try FoundMap(identifiers[index]) else { continue }
      found[map.name] = map
    }
    let names = LoadedProgram.mapNames
    let state = found[names.state]
    guard let state, state.fits(UInt32.self, handoff_state.self) else {
      return .unusable(.otherLayout(version: nil), createdQdisc: false)
    }
    var record = handoff_state()
    var zero: UInt32 = 0
    guard unsafe bpf_map_lookup_elem(state.descriptor.raw, &zero, &record) == 0 else {
      return .unusable(.otherLayout(version: nil), createdQdisc: false)
    }
    guard record.layout_version == UInt32(HANDOFF_LAYOUT_VERSION),
      let flows = found[names.flows], flows.fits(handoff_flow_key.self, handoff_flow_entry.self),
      let services = found[names.services], services.fits(handoff_service_key.self, UInt32.self),
      let counters = found[names.counters], counters.fits(UInt32.self, handoff_counters.self),
      let handshake = found[names.handshake], handshake.fits(UInt32.self, handoff_handshake.self),
      let alive = found[names.alive], alive.fits(UInt32.self, UInt64.self),
      let rings = found[names.rings], rings.fits(UInt32.self, UInt32.self),
      let tunnels = found[names.tunnels], tunnels.fits(UInt32.self, tunnel_node.self)
    else {
      return .unusable(.otherLayout(version: record.layout_version), createdQdisc: record.created_qdisc == 1)
    }
    let capacity = Int(flows.info.max_entries)
    let maps = PlaneMaps(
      flows: flows.descriptor, services: services.descriptor, counters: counters.descriptor, state: state.descriptor,
      handshake: handshake.descriptor, alive: alive.descriptor, rings: rings.descriptor,
      tunnels: tunnels.descriptor)
    return .usable(maps, capacity: capacity, createdQdisc: record.created_qdisc == 1)
  }

  /// A map of the attached program.
  private struct FoundMap {
    let descriptor: SharedDescriptor
    let info: bpf_map_info

    /// Nil when the map has gone meanwhile.
    init?(_ id: UInt32) throws(ForwardingPlaneError) {
      do {
        let raw = try LibBPF.call("bpf_map_get_fd_by_id") { bpf_map_get_fd_by_id(id) }
        descriptor = SharedDescriptor(OwnedDescriptor(owning: raw))
        var info = bpf_map_info()
        var length = UInt32(MemoryLayout<bpf_map_info>.size)
        _ = try LibBPF.call("bpf_obj_get_info_by_fd") { unsafe bpf_obj_get_info_by_fd(raw, &info, &length) }
        self.info = info
      } catch {
        if error.errno == ENOENT { return nil }
        throw .system(error.on("map \(id)"))
      }
    }

    var name: String { KernelProgram.text(info.name) }

    func fits<Key, Value>(_ key: Key.Type, _ value: Value.Type) -> Bool {
      info.key_size == MemoryLayout<Key>.size && info.value_size == MemoryLayout<Value>.size
    }
  }
}

/// Why the flows of a predecessor could not be taken over.
public enum AdoptionObstacle: Hashable, Sendable {
  /// Its maps have another layout; nil when it says no version.
  case otherLayout(version: UInt32?)
  /// Looking at its maps needs CAP_SYS_ADMIN.
  case notPermitted
}
