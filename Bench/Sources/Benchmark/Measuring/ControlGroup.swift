// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel

/// A control group below the root: counts processor time or kernel memory of its processes, and can limit the former. Both
/// versions of the interface are known: one hierarchy for each controller (1), and one for all (2).
final class ControlGroup {
  private let folders: [String]
  private let isVersion2: Bool

  /// Nil when no group can be made here.
  ///
  /// - Parameter limit: processors that the group may use at most; 0.25 is a quarter of one.
  init?(_ name: String, limit: Double? = nil) {
    let root = "/sys/fs/cgroup"
    isVersion2 = !Machine.text("\(root)/cgroup.controllers").isEmpty
    if isVersion2 {
      // The root gives controllers to its children only when told.
      try? FileAccess.write(Array("+cpu".utf8), to: "\(root)/cgroup.subtree_control")
      folders = ["\(root)/\(name)"]
    } else {
      folders = ["\(root)/cpuacct/\(name)"] + (limit == nil ? [] : ["\(root)/cpu/\(name)"])
    }
    guard let made = try? Command.run(["mkdir"] + folders), made.isSuccess else { return nil }
    guard let limit, let folder = folders.last else { return }
    let period = 50_000
    let quota = max(1000, Int(limit * Double(period)))
    if isVersion2 {
      write("\(quota) \(period)", to: "\(folder)/cpu.max")
    } else {
      write("\(period)", to: "\(folder)/cpu.cfs_period_us")
      write("\(quota)", to: "\(folder)/cpu.cfs_quota_us")
    }
  }

  /// A group that counts what the kernel holds for its processes from the time on at which they are in it; nil when none
  /// can be made here.
  init?(memoryOf name: String) {
    let root = "/sys/fs/cgroup"
    isVersion2 = !Machine.text("\(root)/cgroup.controllers").isEmpty
    if isVersion2 { try? FileAccess.write(Array("+memory".utf8), to: "\(root)/cgroup.subtree_control") }
    folders = [isVersion2 ? "\(root)/\(name)" : "\(root)/memory/\(name)"]
    guard let made = try? Command.run(["mkdir"] + folders), made.isSuccess else { return nil }
    // Version 1 counts accepted sockets only in groups that have had a limit set; this one is no limit.
    if !isVersion2 { write("-1", to: "\(folders[0])/memory.kmem.tcp.limit_in_bytes") }
  }

  /// A command that runs another one as a member of the group from its first instruction on.
  func command(_ arguments: [String]) -> [String] {
    let joins = folders.map { "echo $$ > \($0)/cgroup.procs" }.joined(separator: " && ")
    return ["sh", "-c", "\(joins) && exec \"$@\"", "sh"] + arguments
  }

  func add(_ pid: Int32) {
    for folder in folders { write("\(pid)", to: "\(folder)/cgroup.procs") }
  }

  private func write(_ text: String, to file: String) {
    // A process that has ended meanwhile is no loss.
    try? FileAccess.write(Array(text.utf8), to: file)
  }

  func cpuSeconds() -> Double {
    if !isVersion2 {
      let text = Machine.text("\(folders[0])/cpuacct.usage")
      return (text.split(separator: "\n").first.flatMap { Double($0) } ?? 0) / 1e9
    }
    for line in Machine.text("\(folders[0])/cpu.stat").split(separator: "\n") where line.hasPrefix("usage_usec ") {
      return (Double(line.dropFirst(11)) ?? 0) / 1e6
    }
    return 0
  }

  /// Bytes of slab objects, page tables, kernel stacks and socket buffers; nil when the group does not count memory.
  func kernelMemory() -> Int? {
    if !isVersion2 {
      return Machine.text("\(folders[0])/memory.kmem.usage_in_bytes").split(separator: "\n").first.flatMap { Int($0) }
    }
    var sum: Int?
    for line in Machine.text("\(folders[0])/memory.stat").split(separator: "\n") {
      let fields = line.split(separator: " ")
      guard fields.count == 2, ["kernel", "sock"].contains(fields[0]), let bytes = Int(fields[1]) else { continue }
      sum = (sum ?? 0) + bytes
    }
    return sum
  }

  /// Works once the group's processes have ended.
  func remove() { _ = try? Command.run(["rmdir"] + folders) }

  /// Removes groups of earlier runs that were killed; those that have processes stay.
  static func removeEmpty() {
    for root in ["", "/cpuacct", "/cpu", "/memory"].map({ "/sys/fs/cgroup\($0)" }) {
      let names = (try? Command.run(["ls", root]))?.output.split(separator: "\n") ?? []
      for name in names where name.hasPrefix("ho-") { _ = try? Command.run(["rmdir", "\(root)/\(name)"]) }
    }
  }
}
