// SPDX-License-Identifier: Apache-2.0

public import LinuxKernel

/// Why the forwarding plane could not be set up or a flow not be entered.
public enum ForwardingPlaneError: Error, Hashable, Sendable {
  case noSuchInterface(String)
  case invalidConfiguration(String)
  /// A capability is missing for `call`.
  case notPermitted(call: String, interface: String)
  /// The kernel has neither tcx nor a clsact qdisc with cls_bpf.
  case noTrafficControl(SystemError)
  /// The kernel does not take the maps.
  case mapsRefused(SystemError)
  /// The kernel does not take the program; `log` is the end of what libbpf and the verifier said.
  case programRejected(SystemError, log: String)
  /// A program that is not this one is attached where this one belongs.
  case hookTaken(interface: String, program: String)
  /// Programs are at tcx, among them perhaps that of a predecessor, and this process may not look at them.
  case hiddenPrograms(interface: String)
  /// Packets cannot be forwarded at the driver, and nothing else was allowed.
  case noDriverHook(interface: String, DriverObstacle)
  case tooManyServices(count: Int, limit: Int)
  case tooManyTunnels(limit: Int)
  /// More addresses than a table of the tunnels' end holds.
  case tooMany(String, limit: Int)
  /// The flow table holds as many flows as it may. The handoff is refused; nothing else is lost.
  case tableFull
  /// The kernel has no memory for one more flow.
  case outOfKernelMemory
  case system(SystemError)
}

extension ForwardingPlaneError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .noSuchInterface(let name):
      "forwarding plane: there is no interface \(name); `ip link` lists those of this network namespace"
    case .invalidConfiguration(let reason):
      "forwarding plane: \(reason)"
    case .notPermitted(let call, let interface):
      """
      forwarding plane on \(interface): \(call) is not permitted; run as root or give the process CAP_BPF, \
      CAP_PERFMON and CAP_NET_ADMIN, and CAP_SYS_ADMIN to take over the flows of a process that died
      """
    case .noTrafficControl(let error):
      """
      forwarding plane: \(error); without tcx (Linux 6.6, and CAP_SYS_ADMIN for the process) the kernel needs \
      CONFIG_NET_CLS_ACT, CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF (load sch_ingress and cls_bpf)
      """
    case .mapsRefused(let error):
      """
      forwarding plane: cannot make the BPF maps: \(error); the kernel needs CONFIG_BPF_SYSCALL, version 5.17 or later, \
      and memory for the flow table
      """
    case .programRejected(let error, let log):
      """
      forwarding plane: the kernel does not take the BPF program: \(error); it needs version 5.17 or later. What it \
      said:\n\(log)
      """
    case .hookTaken(let interface, let program):
      """
      forwarding plane: program "\(program)" is attached to \(interface) where this one belongs; remove it with \
      `tc filter del dev \(interface) ingress pref \(FilterHook.priority)`
      """
    case .hiddenPrograms(let interface):
      """
      forwarding plane: programs are attached to \(interface) by tcx, and without CAP_SYS_ADMIN nobody can tell whether a \
      killed process left them; give the process CAP_SYS_ADMIN, or remove them (`bpftool net show dev \(interface)` lists \
      them, `bpftool net detach tcx_ingress dev \(interface)` removes the last one)
      """
    case .noDriverHook(let interface, let obstacle):
      "forwarding plane: packets cannot be forwarded at the driver of \(interface): \(obstacle). \(obstacle.remedy)"
    case .tooManyServices(let count, let limit):
      "forwarding plane: \(count) services are more than the \(limit) that it can hold; serve fewer addresses or ports"
    case .tooManyTunnels(let limit):
      """
      forwarding plane: it has had more than \(limit) server nodes on other networks; restart the distributor to forget \
      those that are gone
      """
    case .tooMany(let what, let limit): "forwarding plane: there are more than \(limit) \(what)"
    case .tableFull:
      "forwarding plane: the flow table is full; raise its size or lower the linger time"
    case .outOfKernelMemory:
      "forwarding plane: the kernel has no memory for one more flow (128 bytes); free memory or raise the cgroup's limit"
    case .system(let error):
      "forwarding plane: \(error)"
    }
  }
}
