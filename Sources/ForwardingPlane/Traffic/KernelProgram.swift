// SPDX-License-Identifier: Apache-2.0

import Clibbpf
import Glibc
import LinuxKernel

/// A BPF program in the kernel that somebody may have left there.
struct KernelProgram: Sendable {
  /// The kernel's id.
  let id: UInt32
  /// The kernel keeps 15 bytes.
  let name: String
  let program: SharedDescriptor

  /// Nil when it is gone.
  ///
  /// - Throws: EPERM without CAP_SYS_ADMIN.
  init?(_ id: UInt32) throws(SystemError) {
    let raw: Int32
    do {
      raw = try LibBPF.call("bpf_prog_get_fd_by_id") { bpf_prog_get_fd_by_id(id) }
    } catch {
      if error.errno == ENOENT { return nil }
      throw error
    }
    self.id = id
    program = SharedDescriptor(OwnedDescriptor(owning: raw))
    name = KernelProgram.text(try KernelProgram.info(raw).name)
  }

  /// Whether this process may look at programs by their ids: CAP_SYS_ADMIN in the first user namespace.
  static var canBeFound: Bool {
    // No program has this id; the kernel looks at the capability first.
    bpf_prog_get_fd_by_id(0) != -EPERM
  }

  static func identifier(of program: SharedDescriptor) throws(SystemError) -> UInt32 { try info(program.raw).id }

  private static func info(_ raw: Int32) throws(SystemError) -> bpf_prog_info {
    var info = bpf_prog_info()
    var length = UInt32(MemoryLayout<bpf_prog_info>.size)
    _ = try LibBPF.call("bpf_obj_get_info_by_fd") { unsafe bpf_obj_get_info_by_fd(raw, &info, &length) }
    return info
  }

  static func text(
    _ name: (
      CChar, CChar, CChar, CChar, CChar, CChar, CChar, CChar, CChar, CChar, CChar, CChar, CChar, CChar, CChar, CChar
    )
  ) -> String {
    // SAFETY: the kernel ends names of programs and maps with a NUL.
    unsafe withUnsafeBytes(of: name) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  }
}
