// SPDX-License-Identifier: Apache-2.0

/// Counters of one moment; differences of two are what was used between.
public struct UsageSnapshot: Sendable {
  /// Processor seconds by role.
  var roles: [String: Double] = [:]
  /// Busy seconds of all processors: idle, waiting for disks and stolen time left out.
  var machine = 0.0
  /// Seconds of the kernel's own softirq threads.
  var kernelThreads = 0.0
  /// Bytes that entered and left the fronts.
  var frontBytes = 0

  func since(_ earlier: UsageSnapshot) -> UsageSnapshot {
    var result = self
    for (role, seconds) in earlier.roles { result.roles[role, default: 0] -= seconds }
    result.machine -= earlier.machine
    result.kernelThreads -= earlier.kernelThreads
    result.frontBytes -= earlier.frontBytes
    return result
  }

  /// What the measured system used: its processes, and the kernel's softirq threads. On a machine on which nothing else
  /// runs this is the machine's total.
  func own(client: Double) -> Double { roles.values.reduce(0, +) + kernelThreads + client }
}
