// SPDX-License-Identifier: Apache-2.0

import Clibbpf
import Glibc
import LinuxKernel

/// libbpf's view of an embedded object file, from opening to loading.
@safe
struct BPFObject: ~Copyable {
  private let object: OpaquePointer
  private let log: UnsafeMutableBufferPointer<CChar>
  /// Bytes of an error message that come from the end of the verifier's log.
  private static let logExcerpt = 1500

  /// - Parameters:
  ///   - bytes: an ELF object (`embedded`).
  ///   - name: for the kernel's lists.
  init(_ bytes: [UInt8], name: String) throws(SystemError) {
    // Everything worth saying is in the errors that are thrown; libbpf would write to the standard error output.
    unsafe libbpf_set_print(nil)
    let log = UnsafeMutableBufferPointer<CChar>.allocate(capacity: 1 << 18)
    unsafe log.initialize(repeating: 0)
    var options = unsafe bpf_object_open_opts()
    unsafe options.sz = LibBPF.size(through: \bpf_object_open_opts.kernel_log_level, bytes: 4)
    unsafe options.kernel_log_buf = log.baseAddress
    unsafe options.kernel_log_size = log.count
    // SAFETY: libbpf copies the object's bytes and name; the log outlives the object (deinit).
    let opened = unsafe name.withCString { name in
      unsafe options.object_name = name
      return unsafe bytes.withUnsafeBytes { unsafe bpf_object__open_mem($0.baseAddress, $0.count, &options) }
    }
    guard let opened = unsafe opened else {
      let code = Glibc.errno
      unsafe log.deallocate()
      throw SystemError("bpf_object__open_mem", errno: code)
    }
    unsafe self.object = opened
    unsafe self.log = log
  }

  deinit {
    unsafe bpf_object__close(object)
    unsafe log.deallocate()
  }

  /// The bytes of an object as CompileBPF embeds it, two lower-case digits for each.
  static func embedded(_ text: StaticString) -> [UInt8] {
    var bytes: [UInt8] = []
    // SAFETY: a StaticString's bytes live for ever, and the buffer has its length.
    text.withUTF8Buffer { digits in
      bytes.reserveCapacity(digits.count / 2)
      var index = 0
      while index + 1 < digits.count {
        bytes.append(unsafe value(digits[index]) << 4 | value(digits[index + 1]))
        index += 2
      }
    }
    return bytes
  }

  private static func value(_ digit: UInt8) -> UInt8 { digit < 0x61 ? digit &- 0x30 : digit &- 0x61 &+ 10 }

  /// Gives programs and maps to the kernel.
  func load() throws(BPFLoadFailure) {
    do {
      _ = try LibBPF.call("bpf_object__load") { unsafe bpf_object__load(object) }
    } catch {
      throw BPFLoadFailure(
        error: error, said: String(unsafe String(cString: log.baseAddress!).suffix(BPFObject.logExcerpt)))
    }
  }

  private func find(_ name: String) -> OpaquePointer {
    guard let map = unsafe bpf_object__find_map_by_name(object, name) else {
      preconditionFailure("the embedded BPF object has no map \(name)")
    }
    return unsafe map
  }

  /// Checks a map's structs against those that Swift was built with.
  func check<Key, Value>(_ name: String, _ key: Key.Type, _ value: Value.Type) {
    let map = unsafe find(name)
    precondition(
      unsafe bpf_map__key_size(map) == MemoryLayout<Key>.size && bpf_map__value_size(map) == MemoryLayout<Value>.size,
      "\(name): the BPF object and the loader were built from different versions of a header")
  }

  /// Before loading: how many entries a map of the object's own gets.
  func resize(_ name: String, to entries: UInt32) throws(SystemError) {
    _ = try LibBPF.call("bpf_map__set_max_entries") { unsafe bpf_map__set_max_entries(find(name), entries) }
  }

  /// Before loading: a map that is there already takes the place of the object's own.
  func reuse(_ name: String, _ descriptor: SharedDescriptor) throws(SystemError) {
    let raw = descriptor.raw
    _ = try LibBPF.call("bpf_map__reuse_fd") { unsafe bpf_map__reuse_fd(find(name), raw) }
  }

  /// After loading.
  func map(_ name: String) throws(SystemError) -> SharedDescriptor {
    try SharedDescriptor(duplicating: unsafe bpf_map__fd(find(name)))
  }

  /// After loading.
  func program(_ name: String) throws(SystemError) -> SharedDescriptor {
    guard let program = unsafe bpf_object__find_program_by_name(object, name) else {
      preconditionFailure("the embedded BPF object has no program \(name)")
    }
    return try SharedDescriptor(duplicating: unsafe bpf_program__fd(program))
  }
}

/// Why the kernel does not take an object.
struct BPFLoadFailure: Error {
  var error: SystemError
  /// The end of what libbpf and the verifier said; empty when the kernel never came to the program.
  var said: String

  /// Without CAP_PERFMON the verifier prohibits pointer arithmetic that it takes otherwise.
  var isNotPermitted: Bool { error.errno == EPERM || said.contains(" prohibited") }
}

extension ForwardingPlaneError {
  init(_ failure: BPFLoadFailure, interface: String) {
    self =
      if failure.isNotPermitted {
        .notPermitted(call: failure.error.call, interface: interface)
      } else if failure.said.isEmpty {
        .mapsRefused(failure.error)
      } else {
        .programRejected(failure.error, log: failure.said)
      }
  }
}
