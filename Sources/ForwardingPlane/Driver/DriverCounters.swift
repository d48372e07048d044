// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import LinuxKernel

/// How a frame left the program at the driver. Every frame that it sees has exactly one.
///
/// Frames that are passed have a `ForwardingOutcome` besides, by what becomes of them at tc; the others are `forwarded` or
/// `tunnelled` there too, although that program never sees them. The raw values are those of `enum driver_outcome`.
public enum DriverOutcome: Int, CaseIterable, Hashable, Sendable {
  /// Not a packet that can simply follow its flow. Passed to the program at tc, as the next three.
  case passed
  /// Of a flow, but with a checksum that a device is still to fill in.
  case checksumOpen
  /// Of a flow, but longer than the network carries, or in pieces.
  case joined
  /// Of a flow in a tunnel whose way out is not known at the driver.
  case noWay
  /// Sent to the back-end.
  case forwarded
  /// Sent to the back-end in a tunnel.
  case tunnelled
  /// The tunnel's headers could not be written. Dropped; counted as `rewriteFailed` too.
  case failed

  /// The value of the metric's label `outcome`.
  public var label: String {
    switch self {
    case .passed: "passed"
    case .checksumOpen: "checksum_open"
    case .joined: "joined"
    case .noWay: "no_way"
    case .forwarded: "forwarded"
    case .tunnelled: "tunnelled"
    case .failed: "failed"
    }
  }
}

/// Frames by outcome since the program was attached.
public struct DriverCounters: Hashable, Sendable {
  private var frames: [UInt64]

  init(_ frames: [UInt64]) {
    precondition(frames.count == DriverOutcome.allCases.count)
    self.frames = frames
  }

  /// What is counted where no program is attached.
  public static var none: DriverCounters { DriverCounters(DriverOutcome.allCases.map { _ in 0 }) }

  public subscript(outcome: DriverOutcome) -> UInt64 { frames[outcome.rawValue] }

  public var total: UInt64 { frames.reduce(0, &+) }

  /// The sums over all CPUs of a `driver_counters` map.
  static func read(_ map: SharedDescriptor, cpus: Int) -> DriverCounters {
    let outcomes = Int(DRIVER_OUTCOMES.rawValue)
    return unsafe withUnsafeTemporaryAllocation(of: UInt64.self, capacity: cpus * outcomes) { values in
      var zero: UInt32 = 0
      // SAFETY: the kernel writes one driver_counters, a multiple of 8 bytes, for each possible CPU: all of `values`.
      let result = unsafe bpf_map_lookup_elem(map.raw, &zero, values.baseAddress)
      precondition(result == 0, "reading an existing array element failed with \(result)")
      var sums = [UInt64](repeating: 0, count: outcomes)
      for index in 0..<values.count { sums[index % outcomes] &+= unsafe values[index] }
      return DriverCounters(sums)
    }
  }
}
