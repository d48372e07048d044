// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel

/// Tells what a cluster uses. Each role has a control group of the `cpuacct` controller, which counts nanoseconds; where
/// there is none, /proc is summed up, which counts clock ticks.
final class Accounting {
  private let cluster: Cluster
  private var groups: [String: ControlGroup] = [:]
  private let frontPorts: [String]
  private static let softirqThreads = ProcessList.all().filter { $0.name.hasPrefix("ksoftirqd/") }.map(\.pid)

  init(_ cluster: Cluster) {
    self.cluster = cluster
    frontPorts = cluster.nodes.filter { $0.service != nil }.map(\.name)
    for (role, pids) in processes() {
      guard let group = ControlGroup("ho-\(cluster.run.id)-\(role)") else { continue }
      for pid in pids { group.add(pid) }
      groups[role] = group
    }
  }

  /// Process numbers by role.
  func processes() -> [String: [Int32]] {
    var result: [String: [Int32]] = [:]
    for node in cluster.nodes {
      let front = (try? cluster.process(node.name))?.pid
      for pid in ProcessTable.pids(inNamespace: node.namespace.name) {
        let isServer = node.web != nil && pid != front
        let role =
          isServer
          ? "server" : node.web != nil ? "agent" : node.plan.isDistributor ? "front" : "dispatcher"
        result[role, default: []].append(pid)
      }
    }
    return result
  }

  func now() -> UsageSnapshot {
    var snapshot = UsageSnapshot()
    for (role, pids) in groups.isEmpty ? processes() : [:] {
      snapshot.roles[role] = pids.reduce(0) { $0 + (ProcessTable.cpuSeconds(of: $1) ?? 0) }
    }
    for (role, group) in groups { snapshot.roles[role] = group.cpuSeconds() }
    snapshot.machine = Machine.busySeconds()
    snapshot.kernelThreads = Accounting.softirqThreads.reduce(0) { $0 + (ProcessTable.cpuSeconds(of: $1) ?? 0) }
    snapshot.frontBytes = frontBytes()
    return snapshot
  }

  private func frontBytes() -> Int {
    guard !frontPorts.isEmpty,
      let text = try? cluster.fabric.namespace.perform({
        String(decoding: try FileAccess.read("/proc/thread-self/net/dev"), as: UTF8.self)
      })
    else { return 0 }
    var sum = 0
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: ":")
      guard parts.count == 2, frontPorts.contains(parts[0].trimmed) else { continue }
      let fields = parts[1].split(separator: " ").compactMap { Int($0) }
      if fields.count > 8 { sum += fields[0] + fields[8] }
    }
    return sum
  }

  func remove() {
    for group in groups.values { group.remove() }
    groups = [:]
  }
}

extension Substring {
  var trimmed: String { String(drop { $0 == " " }) }
}
