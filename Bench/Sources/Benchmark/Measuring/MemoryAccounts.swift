// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel

/// Bytes that one role holds.
struct MemoryUse: Sendable, Codable, Hashable {
  /// Resident memory of its processes; of pages that several share, its part.
  var user = 0
  /// What the kernel has charged to its processes: sockets, descriptors, epoll's items. 0 where no controller counts it.
  var kernel = 0
  /// BPF maps that its processes hold, as the kernel says what they take (`memlock` in /proc/PID/fdinfo).
  var maps = 0

  func since(_ earlier: MemoryUse) -> MemoryUse {
    MemoryUse(user: user - earlier.user, kernel: kernel - earlier.kernel, maps: maps - earlier.maps)
  }
}

/// Tells what a cluster's roles hold in memory, and what the machine does.
///
/// A map's elements belong to whoever made the map, which was before a control group could be told; `memlock` counts them.
/// Sockets that the kernel makes for a listener are charged to the process that accepts them.
final class MemoryAccounts {
  private let processes: [String: [Int32]]
  private var groups: [String: ControlGroup] = [:]
  /// Files that tell of the descriptors of maps, by role. Found while there are few others: a look at /proc/PID/fdinfo makes
  /// an inode for each descriptor, which would then be found in the kernel's memory.
  private var mapFiles: [String: [String]] = [:]

  init(_ running: RunningSystem) {
    processes = running.accounting.processes()
    for (role, pids) in processes {
      if let group = ControlGroup(memoryOf: "ho-\(running.cluster.run.id)-\(role)-memory") {
        for pid in pids { group.add(pid) }
        groups[role] = group
      }
      if running.system.front == .handoff, role != "server" { mapFiles[role] = pids.flatMap(MemoryAccounts.mapFiles) }
    }
  }

  func now() -> [String: MemoryUse] {
    var result: [String: MemoryUse] = [:]
    for (role, pids) in processes {
      let maps = mapFiles[role, default: []].compactMap { MemoryAccounts.map(in: Machine.text($0)) }
      result[role] = MemoryUse(
        user: pids.reduce(0) { $0 + Machine.proportionalMemory(of: $1) }, kernel: groups[role]?.kernelMemory() ?? 0,
        // Several descriptors may be of one map.
        maps: Set(maps).reduce(0) { $0 + $1.bytes })
    }
    return result
  }

  /// To be called when the processes have ended.
  func remove() {
    for group in groups.values { group.remove() }
    groups = [:]
  }

  struct Map: Hashable {
    var id: Int
    var bytes: Int
  }

  private static func mapFiles(of pid: Int32) -> [String] {
    let folder = "/proc/\(pid)/fdinfo"
    let names = (try? Command.run(["ls", folder]))?.output.split(separator: "\n") ?? []
    return names.map { "\(folder)/\($0)" }.filter { map(in: Machine.text($0)) != nil }
  }

  /// Nil when the descriptor is of something else.
  static func map(in text: String) -> Map? {
    var id: Int?
    var bytes: Int?
    for line in text.split(separator: "\n") {
      let parts = line.split(whereSeparator: { $0 == "\t" || $0 == " " || $0 == ":" })
      guard parts.count == 2 else { continue }
      if parts[0] == "map_id" { id = Int(parts[1]) } else if parts[0] == "memlock" { bytes = Int(parts[1]) }
    }
    guard let id, let bytes else { return nil }
    return Map(id: id, bytes: bytes)
  }
}
