// SPDX-License-Identifier: Apache-2.0

import Clibbpf
import Glibc
import LinuxKernel

/// The clsact filter (cls_bpf) of one place at an interface, in the calling thread's network namespace.
///
/// Handle and priority are fixed: they are how a process finds what its dead predecessor left.
struct FilterHook: Hashable, Sendable {
  let interface: String
  let index: Int32
  let place: TrafficHook.Place

  static let handle: UInt32 = 0x4c
  static let priority: UInt32 = 19521

  private func hook(_ wanted: bpf_tc_attach_point? = nil) -> bpf_tc_hook {
    let point = wanted ?? (place.isEgress ? BPF_TC_EGRESS : BPF_TC_INGRESS)
    var hook = bpf_tc_hook()
    hook.sz = LibBPF.size(through: \bpf_tc_hook.parent, bytes: 4)
    hook.ifindex = index
    hook.attach_point = point
    return hook
  }

  private func options() -> bpf_tc_opts {
    var options = bpf_tc_opts()
    options.sz = LibBPF.size(through: \bpf_tc_opts.priority, bytes: 4)
    options.handle = place.handle
    options.priority = place.rawValue
    return options
  }

  /// The kernel's id of the program at this hook's handle and priority, nil when there is none or no clsact.
  func attachedProgram() throws(ForwardingPlaneError) -> UInt32? {
    var hook = self.hook()
    var options = self.options()
    do {
      _ = try LibBPF.call("bpf_tc_query") { unsafe bpf_tc_query(&hook, &options) }
    } catch {
      // EINVAL: the interface has no clsact qdisc.
      if error.errno == ENOENT || error.errno == EINVAL { return nil }
      throw explain(error)
    }
    return options.prog_id
  }

  /// The same if it is a program that belongs here by its name; for processes that may look at programs.
  func ownProgram() throws(ForwardingPlaneError) -> UInt32? {
    let found: UInt32?
    do throws(ForwardingPlaneError) {
      found = try attachedProgram()
    } catch {
      // A kernel without filters has none of ours.
      if case .noTrafficControl = error { return nil }
      throw error
    }
    guard let id = found else { return nil }
    do {
      guard let program = try KernelProgram(id), place.programs.contains(program.name) else { return nil }
      return id
    } catch {
      throw .system(error.on("program \(id) at \(interface)"))
    }
  }

  /// Makes the clsact qdisc; false when the interface has one.
  func createQdisc() throws(ForwardingPlaneError) -> Bool {
    var hook = self.hook()
    do {
      _ = try LibBPF.call("bpf_tc_hook_create") { unsafe bpf_tc_hook_create(&hook) }
    } catch {
      if error.errno == EEXIST { return false }
      throw explain(error)
    }
    return true
  }

  /// Puts the program in, in place of one that is there; no packet passes between the two.
  ///
  /// - Returns: the kernel's id of the program.
  func attach(_ program: SharedDescriptor) throws(ForwardingPlaneError) -> UInt32 {
    var hook = self.hook()
    var options = self.options()
    options.prog_fd = program.raw
    options.flags = BPF_TC_F_REPLACE.rawValue
    do {
      _ = try LibBPF.call("bpf_tc_attach") { unsafe bpf_tc_attach(&hook, &options) }
    } catch {
      throw explain(error)
    }
    return options.prog_id
  }

  func detach() throws(ForwardingPlaneError) {
    var hook = self.hook()
    var options = self.options()
    do {
      _ = try LibBPF.call("bpf_tc_detach") { unsafe bpf_tc_detach(&hook, &options) }
    } catch {
      throw explain(error)
    }
  }

  /// Whether any filter, of whomever, is attached to the interface.
  func hasFilters() throws(ForwardingPlaneError) -> Bool {
    do {
      var netlink = try NetlinkSocket(.route)
      return try netlink.hasTrafficFilters(interface: UInt32(index))
    } catch {
      throw explain(error)
    }
  }

  /// Removes the clsact qdisc unless somebody's filter is attached to it.
  ///
  /// - Returns: whether it is gone.
  @discardableResult
  func removeUnusedQdisc() throws(ForwardingPlaneError) -> Bool {
    guard try !hasFilters() else { return false }
    var hook = self.hook(bpf_tc_attach_point(rawValue: BPF_TC_INGRESS.rawValue | BPF_TC_EGRESS.rawValue))
    do {
      _ = try LibBPF.call("bpf_tc_hook_destroy") { unsafe bpf_tc_hook_destroy(&hook) }
    } catch {
      // Somebody else was faster.
      if error.errno != ENOENT { throw explain(error) }
    }
    return true
  }

  private func explain(_ error: SystemError) -> ForwardingPlaneError {
    switch error.errno {
    case EPERM, EACCES: .notPermitted(call: error.call, interface: interface)
    case ENOENT, EOPNOTSUPP: .noTrafficControl(error.on(interface))
    case ENODEV: .noSuchInterface(interface)
    default: .system(error.on(interface))
    }
  }
}
