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
  ///   - hexadecimal: the object as CompileBPF embeds it, two lower-case digits for each byte.
  ///   - name: for the kernel's lists.
  init(_ hexadecimal: StaticString, name: String) throws(ForwardingPlaneError) {
    // Everything worth saying is in the errors that are thrown; libbpf would write to the standard error output.
    unsafe libbpf_set_print(nil)
    let bytes = BPFObject.bytes(hexadecimal)
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
      throw .programRejected(SystemError("bpf_object__open_mem", errno: code), log: "")
    }
    unsafe self.object = opened
    unsafe self.log = log
  }

  deinit {
    unsafe bpf_object__close(object)
    unsafe log.deallocate()
  }

  private static func bytes(_ text: StaticString) -> [UInt8] {
    // SAFETY: a StaticString's bytes live for ever, and the buffer has its length.
    text.withUTF8Buffer { digits in
      (0..<digits.count / 2).map { index in unsafe value(digits[2 * index]) << 4 | value(digits[2 * index + 1]) }
    }
  }

  private static func value(_ digit: UInt8) -> UInt8 {
    digit >= UInt8(ascii: "a") ? digit - UInt8(ascii: "a") + 10 : digit - UInt8(ascii: "0")
  }

  /// Gives programs and maps to the kernel.
  ///
  /// - Parameter interface: for the message of an error.
  func load(for interface: String) throws(ForwardingPlaneError) {
    do {
      _ = try LibBPF.call("bpf_object__load") { unsafe bpf_object__load(object) }
    } catch {
      let said = String(unsafe String(cString: log.baseAddress!).suffix(BPFObject.logExcerpt))
      // Without CAP_PERFMON the verifier prohibits pointer arithmetic that it takes otherwise.
      if error.errno == EPERM || said.contains(" prohibited") {
        throw .notPermitted(call: error.call, interface: interface)
      }
      // The verifier has written to the log, unless the kernel never came to the program.
      if said.isEmpty { throw .mapsRefused(error) }
      throw .programRejected(error, log: said)
    }
  }

  func map<Key, Value>(
    _ name: String, _ key: Key.Type, _ value: Value.Type
  ) throws(ForwardingPlaneError) -> SharedDescriptor {
    guard let map = unsafe bpf_object__find_map_by_name(object, name) else {
      preconditionFailure("the embedded BPF object has no map \(name)")
    }
    precondition(
      unsafe bpf_map__key_size(map) == MemoryLayout<Key>.size && bpf_map__value_size(map) == MemoryLayout<Value>.size,
      "\(name): the BPF object and the loader were built from different versions of a header")
    do {
      return try SharedDescriptor(duplicating: unsafe bpf_map__fd(map))
    } catch {
      throw .system(error)
    }
  }

  func program(_ name: String) throws(ForwardingPlaneError) -> SharedDescriptor {
    guard let program = unsafe bpf_object__find_program_by_name(object, name) else {
      preconditionFailure("the embedded BPF object has no program \(name)")
    }
    do {
      return try SharedDescriptor(duplicating: unsafe bpf_program__fd(program))
    } catch {
      throw .system(error)
    }
  }
}
