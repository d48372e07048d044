// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import Glibc
import LinuxKernel

/// The serving plane's programs and maps in the kernel.
struct LoadedServeObject: Sendable {
  var serve: SharedDescriptor
  var silence: SharedDescriptor
  var states: SharedDescriptor
  var maps: ServeMaps
}

struct ServeMaps: Sendable {
  var waiting: SharedDescriptor
  var services: SharedDescriptor
  var adopted: SharedDescriptor
  var silenced: SharedDescriptor
  var counters: SharedDescriptor
  var settings: SharedDescriptor
  var rings: SharedDescriptor
}

/// libbpf's view of the serving plane's object file, from opening to loading.
@safe
struct ServeObject: ~Copyable {
  private let object: OpaquePointer
  private let log: UnsafeMutableBufferPointer<CChar>
  private static let logExcerpt = 1500

  static func embedded() -> [UInt8] {
    let text = ServeProgramObject.hexadecimal
    // SAFETY: a StaticString's bytes live for ever, and the buffer has its length.
    return text.withUTF8Buffer { digits in
      (0..<digits.count / 2).map { index in unsafe value(digits[2 * index]) << 4 | value(digits[2 * index + 1]) }
    }
  }

  private static func value(_ digit: UInt8) -> UInt8 {
    digit >= UInt8(ascii: "a") ? digit - UInt8(ascii: "a") + 10 : digit - UInt8(ascii: "0")
  }

  init(_ bytes: [UInt8]) throws(ServePlaneError) {
    // Everything worth saying is in the errors that are thrown; libbpf would write to the standard error output.
    unsafe libbpf_set_print(nil)
    let log = UnsafeMutableBufferPointer<CChar>.allocate(capacity: 1 << 18)
    unsafe log.initialize(repeating: 0)
    var options = unsafe bpf_object_open_opts()
    unsafe options.sz = LibBPF.size(through: \bpf_object_open_opts.kernel_log_level, bytes: 4)
    unsafe options.kernel_log_buf = log.baseAddress
    unsafe options.kernel_log_size = log.count
    // SAFETY: libbpf copies the object's bytes and name; the log outlives the object (deinit).
    let opened = unsafe "handoff_serve".withCString { name in
      unsafe options.object_name = name
      return unsafe bytes.withUnsafeBytes { unsafe bpf_object__open_mem($0.baseAddress, $0.count, &options) }
    }
    guard let opened = unsafe opened else {
      let code = Glibc.errno
      unsafe log.deallocate()
      throw .failed(SystemError("bpf_object__open_mem", errno: code))
    }
    unsafe self.object = opened
    unsafe self.log = log
  }

  deinit {
    unsafe bpf_object__close(object)
    unsafe log.deallocate()
  }

  func load() throws(ServePlaneError) -> LoadedServeObject {
    checkLayout("serve_waiting", serve_key.self, serve_pending.self)
    checkLayout("serve_services", serve_service_key.self, serve_listener.self)
    checkLayout("serve_adopted", serve_key.self, serve_connection.self)
    checkLayout("serve_silenced", serve_key.self, UInt32.self)
    checkLayout("serve_counts", UInt32.self, serve_counters.self)
    checkLayout("serve_settings", UInt32.self, serve_settings.self)
    do {
      _ = try LibBPF.call("bpf_object__load") { unsafe bpf_object__load(object) }
    } catch {
      throw explain(error)
    }
    do {
      return LoadedServeObject(
        serve: try program("handoff_serve"), silence: try program("handoff_silence"),
        states: try program("handoff_states"),
        maps: ServeMaps(
          waiting: try map("serve_waiting"), services: try map("serve_services"), adopted: try map("serve_adopted"),
          silenced: try map("serve_silenced"), counters: try map("serve_counts"), settings: try map("serve_settings"),
          rings: try map("serve_rings")))
    } catch {
      throw .failed(error)
    }
  }

  private func explain(_ error: SystemError) -> ServePlaneError {
    let said = String(unsafe String(cString: log.baseAddress!).suffix(ServeObject.logExcerpt))
    if error.errno == EPERM || said.contains(" prohibited") { return .notPermitted(error.call) }
    if !SystemFile.isReadable("/sys/kernel/btf/vmlinux") {
      return ServePlaneError(
        "the kernel has no type information (/sys/kernel/btf/vmlinux)",
        remedy: "Use a kernel with CONFIG_DEBUG_INFO_BTF")
    }
    // libbpf does not find a kernel function before the verifier sees anything.
    if said.isEmpty && (error.errno == ESRCH || error.errno == ENOENT || error.errno == EINVAL) {
      return ServePlaneError(
        "Linux \(HostFacts.kernelRelease()) has no bpf_sk_assign_tcp_reqsk",
        remedy: "Use Linux 6.9 or later with CONFIG_SYN_COOKIES")
    }
    return ServePlaneError(
      "the kernel does not take the serving program: \(error)",
      remedy: "Use Linux 6.9 or later with CONFIG_SYN_COOKIES and CONFIG_BPF_EVENTS. What it said:\n\(said)")
  }

  private func map(_ name: String) throws(SystemError) -> SharedDescriptor {
    guard let map = unsafe bpf_object__find_map_by_name(object, name) else {
      preconditionFailure("the embedded BPF object has no map \(name)")
    }
    return try SharedDescriptor(duplicating: unsafe bpf_map__fd(map))
  }

  private func program(_ name: String) throws(SystemError) -> SharedDescriptor {
    guard let program = unsafe bpf_object__find_program_by_name(object, name) else {
      preconditionFailure("the embedded BPF object has no program \(name)")
    }
    return try SharedDescriptor(duplicating: unsafe bpf_program__fd(program))
  }

  private func checkLayout<Key, Value>(_ name: String, _ key: Key.Type, _ value: Value.Type) {
    guard let map = unsafe bpf_object__find_map_by_name(object, name) else {
      preconditionFailure("the embedded BPF object has no map \(name)")
    }
    precondition(
      unsafe bpf_map__key_size(map) == MemoryLayout<Key>.size && bpf_map__value_size(map) == MemoryLayout<Value>.size,
      "\(name): the BPF object and the loader were built from different versions of serve_plane.h")
  }
}
