// SPDX-License-Identifier: Apache-2.0

import Clibbpf
import Glibc
import LinuxKernel

/// The native XDP hook of one interface, in the calling thread's network namespace.
///
/// What is attached stays when the process dies, as at `TrafficHook`: nothing needs to be pinned.
struct DriverHook: Hashable, Sendable {
  let interface: String
  let index: Int32

  typealias Occupant = KernelProgram

  // XDP_FLAGS_DRV_MODE, XDP_FLAGS_UPDATE_IF_NOEXIST, XDP_FLAGS_REPLACE (include/uapi/linux/if_link.h).
  private static let native: UInt32 = 1 << 2
  private static let ifNobody: UInt32 = 1 << 0
  private static let inPlace: UInt32 = 1 << 4

  init(_ hook: TrafficHook) {
    interface = hook.interface
    index = hook.index
  }

  /// What is attached, in any mode; nil when nothing is. The name is empty without CAP_SYS_ADMIN.
  func occupant() throws(SystemError) -> Occupant? {
    guard let id = try attachedProgram() else { return nil }
    do {
      return try KernelProgram(id)
    } catch {
      throw error.on("program \(id) at \(interface)")
    }
  }

  /// The kernel's id of the attached program, in any mode.
  func attachedProgram() throws(SystemError) -> UInt32? {
    var id: UInt32 = 0
    let index = self.index
    _ = try LibBPF.call("bpf_xdp_query_id") { unsafe bpf_xdp_query_id(index, 0, &id) }
    return id == 0 ? nil : id
  }

  /// Puts the program in, in place of `former`; no frame passes between the two.
  ///
  /// - Throws: EEXIST or EBUSY when something else is there, EOPNOTSUPP without native XDP.
  func attach(_ program: SharedDescriptor, replacing former: Occupant?) throws(SystemError) {
    var options = DriverHook.options(former)
    let (index, raw) = (self.index, program.raw)
    let flags = DriverHook.native | (former == nil ? DriverHook.ifNobody : DriverHook.inPlace)
    _ = try LibBPF.call("bpf_xdp_attach") { unsafe bpf_xdp_attach(index, raw, flags, &options) }
  }

  /// Removes `program` if it is still the one that is attached.
  func detach(_ program: Occupant) throws(SystemError) {
    var options = DriverHook.options(program)
    let index = self.index
    let flags = DriverHook.native | DriverHook.inPlace
    _ = try LibBPF.call("bpf_xdp_detach") { unsafe bpf_xdp_detach(index, flags, &options) }
  }

  private static func options(_ former: Occupant?) -> bpf_xdp_attach_opts {
    var options = bpf_xdp_attach_opts()
    options.sz = LibBPF.size(through: \bpf_xdp_attach_opts.old_prog_fd, bytes: 4)
    options.old_prog_fd = former?.program.raw ?? 0
    return options
  }
}
