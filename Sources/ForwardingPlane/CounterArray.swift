// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import LinuxKernel

/// The program's per-CPU counters.
struct CounterArray: Sendable {
  private let map: SharedDescriptor
  private let cpus: Int

  init(_ map: SharedDescriptor) throws(ForwardingPlaneError) {
    self.map = map
    do {
      cpus = Int(try LibBPF.call("libbpf_num_possible_cpus") { libbpf_num_possible_cpus() })
    } catch {
      throw .system(error)
    }
  }

  /// The sums over all CPUs. Packets that are under way meanwhile count or do not, each as a whole.
  func read() -> ForwardingCounters {
    withValues { values in
      var sums = [UInt64](repeating: 0, count: CounterArray.outcomes)
      for index in values.indices { sums[index % CounterArray.outcomes] &+= values[index] }
      return ForwardingCounters(sums)
    }
  }

  /// One of the sums, without allocating.
  func read(_ outcome: ForwardingOutcome) -> UInt64 {
    withValues { values in
      var sum: UInt64 = 0
      var index = outcome.rawValue
      while index < values.count {
        sum &+= values[index]
        index += CounterArray.outcomes
      }
      return sum
    }
  }

  private static let outcomes = Int(HANDOFF_OUTCOMES.rawValue)

  /// Gives each CPU's counters, one CPU after the other.
  private func withValues<Result>(_ body: (Span<UInt64>) -> Result) -> Result {
    unsafe withUnsafeTemporaryAllocation(of: UInt64.self, capacity: cpus * CounterArray.outcomes) { values in
      var zero: UInt32 = 0
      // SAFETY: the kernel writes one handoff_counters, a multiple of 8 bytes, for each possible CPU: all of `values`.
      let result = unsafe bpf_map_lookup_elem(map.raw, &zero, values.baseAddress)
      precondition(result == 0, "reading an existing array element failed with \(result)")
      return body(unsafe values.span)
    }
  }
}
