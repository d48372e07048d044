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

/// The BPF program with its maps, in the kernel.
struct LoadedProgram: Sendable {
  var program: SharedDescriptor
  var maps: PlaneMaps

  /// Loads the embedded object, with maps of its own or with `existing` ones.
  ///
  /// - Parameters:
  ///   - interface: for the message of an error.
  ///   - capacity: flows of a table of its own.
  ///   - withFlows: whether the flow table is taken from `existing` as well.
  static func load(
    for interface: String, capacity: Int, reusing existing: PlaneMaps?, withFlows: Bool = true
  ) throws(ForwardingPlaneError) -> LoadedProgram {
    let object = try ProgramObject(embeddedObject())
    try object.prepare(capacity: UInt32(capacity), reusing: existing, withFlows: withFlows)
    return try object.load(for: interface)
  }

  static func embeddedObject() -> [UInt8] {
    let text = ForwardingProgramObject.hexadecimal
    // SAFETY: a StaticString's bytes live for ever, and the buffer has its length.
    return text.withUTF8Buffer { digits in
      (0..<digits.count / 2).map { index in
        unsafe hexadecimalValue(digits[2 * index]) << 4 | hexadecimalValue(digits[2 * index + 1])
      }
    }
  }

  private static func hexadecimalValue(_ digit: UInt8) -> UInt8 {
    digit >= UInt8(ascii: "a") ? digit - UInt8(ascii: "a") + 10 : digit - UInt8(ascii: "0")
  }
}

/// libbpf's view of an object file, from opening to loading.
@safe
struct ProgramObject: ~Copyable {
  static let programName = "handoff_forward"
  static let mapNames = (
    flows: "handoff_flows", services: "handoff_service", counters: "handoff_counts", state: "handoff_state",
    handshake: "handoff_shake", alive: "handoff_alive", rings: "handoff_rings", tunnels: "handoff_tunnels"
  )

  private let object: OpaquePointer
  private let log: UnsafeMutableBufferPointer<CChar>
  /// Bytes of an error message that come from the end of the verifier's log.
  private static let logExcerpt = 1500

  init(_ bytes: [UInt8]) throws(ForwardingPlaneError) {
    let log = UnsafeMutableBufferPointer<CChar>.allocate(capacity: 1 << 18)
    unsafe log.initialize(repeating: 0)
    var options = unsafe bpf_object_open_opts()
    unsafe options.sz = LibBPF.size(through: \bpf_object_open_opts.kernel_log_level, bytes: 4)
    unsafe options.kernel_log_buf = log.baseAddress
    unsafe options.kernel_log_size = log.count
    // SAFETY: libbpf copies the object's bytes and name; the log outlives the object (deinit).
    let opened = unsafe "handoff".withCString { name in
      unsafe options.object_name = name
      return unsafe bytes.withUnsafeBytes { unsafe bpf_object__open_mem($0.baseAddress, $0.count, &options) }
    }
    guard let opened = unsafe opened else {
      let code = Glibc.errno
      unsafe log.deallocate()
      throw .programRejected(SystemError("bpf_object__open_mem", errno: code), log: "")
    }
    unsafe self.object = opened
    unsafe self.log = log
  }

  deinit {
    unsafe bpf_object__close(object)
    unsafe log.deallocate()
  }

  private func map(_ name: String) -> OpaquePointer {
    guard let map = unsafe bpf_object__find_map_by_name(object, name) else {
      preconditionFailure("the embedded BPF object has no map \(name)")
    }
    return unsafe map
  }

  /// Checks the object's structs against those that Swift was built with, and settles which maps it gets.
  func prepare(
    capacity: UInt32, reusing existing: PlaneMaps?, withFlows: Bool
  ) throws(ForwardingPlaneError) {
    let names = ProgramObject.mapNames
    checkLayout(names.flows, handoff_flow_key.self, handoff_flow_entry.self)
    checkLayout(names.services, handoff_service_key.self, UInt32.self)
    checkLayout(names.counters, UInt32.self, handoff_counters.self)
    checkLayout(names.state, UInt32.self, handoff_state.self)
    checkLayout(names.handshake, UInt32.self, handoff_handshake.self)
    checkLayout(names.alive, UInt32.self, UInt64.self)
    checkLayout(names.rings, UInt32.self, UInt32.self)
    checkLayout(names.tunnels, UInt32.self, tunnel_node.self)
    do {
      if let maps = existing {
        try reuse(names.services, maps.services)
        try reuse(names.counters, maps.counters)
        try reuse(names.state, maps.state)
        try reuse(names.handshake, maps.handshake)
        try reuse(names.alive, maps.alive)
        try reuse(names.rings, maps.rings)
        try reuse(names.tunnels, maps.tunnels)
      }
      if withFlows, let maps = existing {
        try reuse(names.flows, maps.flows)
      } else {
        _ = try LibBPF.call("bpf_map__set_max_entries") {
          unsafe bpf_map__set_max_entries(map(names.flows), capacity)
        }
      }
    } catch {
      throw .mapsRefused(error)
    }
  }

  private func checkLayout<Key, Value>(_ name: String, _ key: Key.Type, _ value: Value.Type) {
    let map = unsafe self.map(name)
    precondition(
      unsafe bpf_map__key_size(map) == MemoryLayout<Key>.size && bpf_map__value_size(map) == MemoryLayout<Value>.size,
      "\(name): the BPF object and the loader were built from different versions of flow_table.h")
  }

  private func reuse(_ name: String, _ descriptor: SharedDescriptor) throws(SystemError) {
    let raw = descriptor.raw
    _ = try LibBPF.call("bpf_map__reuse_fd") { unsafe bpf_map__reuse_fd(map(name), raw) }
  }

  consuming func load(for interface: String) throws(ForwardingPlaneError) -> LoadedProgram {
    do {
      _ = try LibBPF.call("bpf_object__load") { unsafe bpf_object__load(object) }
    } catch {
      let said = logEnd()
      // Without CAP_PERFMON the verifier prohibits pointer arithmetic that it takes otherwise.
      if error.errno == EPERM || said.contains(" prohibited") {
        throw .notPermitted(call: error.call, interface: interface)
      }
      // The verifier has written to the log, unless the kernel never came to the program.
      if said.isEmpty { throw .mapsRefused(error) }
      throw .programRejected(error, log: said)
    }
    guard let program = unsafe bpf_object__find_program_by_name(object, ProgramObject.programName) else {
      preconditionFailure("the embedded BPF object has no program \(ProgramObject.programName)")
    }
    let names = ProgramObject.mapNames
    do {
      return LoadedProgram(
        program: try SharedDescriptor(duplicating: unsafe bpf_program__fd(program)),
        maps: PlaneMaps(
          flows: try SharedDescriptor(duplicating: unsafe bpf_map__fd(map(names.flows))),
          services: try SharedDescriptor(duplicating: unsafe bpf_map__fd(map(names.services))),
          counters: try SharedDescriptor(duplicating: unsafe bpf_map__fd(map(names.counters))),
          state: try SharedDescriptor(duplicating: unsafe bpf_map__fd(map(names.state))),
          handshake: try SharedDescriptor(duplicating: unsafe bpf_map__fd(map(names.handshake))),
          alive: try SharedDescriptor(duplicating: unsafe bpf_map__fd(map(names.alive))),
          rings: try SharedDescriptor(duplicating: unsafe bpf_map__fd(map(names.rings))),
          tunnels: try SharedDescriptor(duplicating: unsafe bpf_map__fd(map(names.tunnels)))))
    } catch {
      throw .system(error)
    }
  }

  private func logEnd() -> String {
    let text = unsafe String(cString: log.baseAddress!)
    return String(text.suffix(ProgramObject.logExcerpt))
  }
}
