// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

/// Processor seconds used so far, by role.
///
/// Kernel work in softirq is charged to whoever runs when it happens, on a veth mostly the sender: the machine's total
/// is the robust figure, the roles' shares are an indication.
public struct ProcessorTime: Sendable {
  /// Seconds of user and system time by role.
  public var roles: [String: Double] = [:]
  /// Of the programs that this process started and that have ended: load generators.
  public var clients = 0.0
  /// All processors of the machine, idle and stolen time left out.
  public var machine = 0.0

  /// Reads the times of a cluster now.
  public static func now(of cluster: Cluster) throws(LabError) -> ProcessorTime {
    var result = ProcessorTime()
    for node in cluster.nodes {
      let front = try? cluster.process(node.name).pid
      for pid in ProcessTable.pids(inNamespace: node.namespace.name) {
        let role = pid == front ? cluster.role(of: node) : "web servers"
        result.roles[role, default: 0] += ProcessTable.cpuSeconds(of: pid) ?? 0
      }
    }
    result.clients = ProcessUsage.ofChildren()
    result.machine = machineSeconds()
    return result
  }

  public func since(_ earlier: ProcessorTime) -> ProcessorTime {
    var result = self
    for (role, seconds) in earlier.roles { result.roles[role, default: 0] -= seconds }
    result.clients -= earlier.clients
    result.machine -= earlier.machine
    return result
  }

  private static func machineSeconds() -> Double {
    guard let bytes = try? FileAccess.read("/proc/stat"),
      let line = String(decoding: bytes, as: UTF8.self).split(separator: "\n").first
    else { return 0 }
    // user nice system idle iowait irq softirq steal guest guest_nice (proc(5)); guest is within user.
    let fields = line.split(separator: " ").dropFirst().compactMap { Double($0) }
    guard fields.count >= 8 else { return 0 }
    return (fields[0] + fields[1] + fields[2] + fields[5] + fields[6]) / 100
  }
}

extension Cluster {
  func role(of node: ClusterNode) -> String {
    if plan.front == .haproxy { return "haproxy" }
    var names: [String] = []
    if node.plan.isDispatcher { names.append("dispatcher") }
    if node.plan.isDistributor { names.append("distributor") }
    if node.plan.server != nil { names.append("back-end agent") }
    return names.joined(separator: "+")
  }
}
