// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What this process uses, from the kernel's own books.
public struct ProcessUsage: Sendable, Hashable {
  /// User and system time of all threads, in seconds.
  public var cpuSeconds: Double
  public var residentBytes: Int
  public var openDescriptors: Int
  /// Soft limit RLIMIT_NOFILE.
  public var maximumDescriptors: UInt64
  /// Seconds since 1970-01-01 UTC.
  public var startTime: Double
  public var threads: Int

  /// Reads them now. What /proc does not tell is 0.
  public static func current() -> ProcessUsage {
    var time = timespec()
    unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    let stat = statFields()
    return ProcessUsage(
      cpuSeconds: Double(time.tv_sec) + Double(time.tv_nsec) / 1e9,
      residentBytes: (stat[24].flatMap { Int($0) } ?? 0) * sysconf(Int32(_SC_PAGESIZE)),
      // One of them is the descriptor that reads the directory.
      openDescriptors: max(0, (SystemFile.entryCount(of: "/proc/self/fd") ?? 1) - 1),
      maximumDescriptors: DescriptorLimit.current().soft,
      startTime: startTime(ticksAfterBoot: stat[22].flatMap { Double($0) } ?? 0),
      threads: stat[20].flatMap { Int($0) } ?? 0)
  }

  /// User and system time, in seconds, of the children that this process has waited for; in steps of the kernel's tick.
  public static func ofChildren() -> Double {
    let stat = statFields()
    let ticks = [16, 17].reduce(0.0) { $0 + (stat[$1].flatMap { Double($0) } ?? 0) }
    return ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  /// Fields of /proc/self/stat by their number in proc(5). The second one, the name, may hold blanks and brackets.
  private static func statFields() -> [Int: Substring] {
    guard let text = try? SystemFile.text(of: "/proc/self/stat"), let end = text.lastIndex(of: ")") else { return [:] }
    let fields = text[text.index(after: end)...].split(whereSeparator: { $0 == " " || $0 == "\n" })
    return Dictionary(uniqueKeysWithValues: fields.enumerated().map { ($0.offset + 3, $0.element) })
  }

  private static func startTime(ticksAfterBoot ticks: Double) -> Double {
    guard let text = try? SystemFile.text(of: "/proc/stat", limit: 16 << 20),
      let line = text.split(separator: "\n").first(where: { $0.hasPrefix("btime ") }),
      let boot = Double(line.dropFirst(6))
    else { return 0 }
    return boot + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
  }
}

/// RLIMIT_NOFILE.
public struct DescriptorLimit: Sendable, Hashable {
  public var soft: UInt64
  public var hard: UInt64

  public init(soft: UInt64, hard: UInt64) {
    self.soft = soft
    self.hard = hard
  }

  public static func current() -> DescriptorLimit {
    var limit = rlimit()
    unsafe getrlimit(__rlimit_resource_t(7), &limit)
    return DescriptorLimit(soft: UInt64(limit.rlim_cur), hard: UInt64(limit.rlim_max))
  }

  /// Raises the soft limit to the hard one and returns what holds afterwards.
  public static func raise() throws(SystemError) -> DescriptorLimit {
    var limit = rlimit()
    unsafe getrlimit(__rlimit_resource_t(7), &limit)
    limit.rlim_cur = limit.rlim_max
    _ = try Syscall.call("setrlimit") { unsafe setrlimit(__rlimit_resource_t(7), &limit) }
    return current()
  }
}
