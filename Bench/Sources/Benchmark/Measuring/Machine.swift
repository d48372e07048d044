// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel

/// Figures of the whole machine.
enum Machine {
  static let processors = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))

  static func busySeconds() -> Double {
    guard let line = text("/proc/stat").split(separator: "\n").first else { return 0 }
    // user nice system idle iowait irq softirq steal guest guest_nice (proc(5)); guest is within user.
    let fields = line.split(separator: " ").dropFirst().compactMap { Double($0) }
    guard fields.count >= 8 else { return 0 }
    return (fields[0] + fields[1] + fields[2] + fields[5] + fields[6]) / 100
  }

  /// Bytes that the kernel holds for itself: slab objects, memory of single processors, vmalloc and page tables.
  static func kernelMemory() -> Int {
    let text = text("/proc/meminfo")
    return ["Slab:", "Percpu:", "VmallocUsed:", "PageTables:"].reduce(0) { $0 + field($1, in: text) }
  }

  static func proportionalMemory(of pid: Int32) -> Int { field("Pss:", in: text("/proc/\(pid)/smaps_rollup")) }

  private static func field(_ name: String, in text: String) -> Int {
    for line in text.split(separator: "\n") where line.hasPrefix(name) {
      return (line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) << 10
    }
    return 0
  }

  static func text(_ path: String) -> String { String(decoding: (try? FileAccess.read(path)) ?? [], as: UTF8.self) }
}

/// All processes of the machine.
enum ProcessList {
  struct Entry {
    var pid: Int32
    var name: String
  }

  static func all() -> [Entry] {
    let names = (try? Command.run(["ls", "/proc"]))?.output.split(separator: "\n") ?? []
    return names.compactMap { Int32($0) }.map { pid in
      Entry(pid: pid, name: Machine.text("/proc/\(pid)/comm").split(separator: "\n").first.map(String.init) ?? "")
    }
  }
}
