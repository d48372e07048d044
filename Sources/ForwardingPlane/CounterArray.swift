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

  /// The sum over all CPUs. Packets that are under way meanwhile count or do not, each as a whole.
  func read() -> ForwardingCounters {
    let outcomes = ForwardingOutcome.allCases.count
    var values = [UInt64](repeating: 0, count: cpus * outcomes)
    var zero: UInt32 = 0
    // SAFETY: the kernel writes one handoff_counters, a multiple of 8 bytes, for each possible CPU.
    let result = unsafe values.withUnsafeMutableBytes { unsafe bpf_map_lookup_elem(map.raw, &zero, $0.baseAddress) }
    precondition(result == 0, "reading an existing array element failed with \(result)")
    var sums = [UInt64](repeating: 0, count: outcomes)
    for index in values.indices { sums[index % outcomes] &+= values[index] }
    return ForwardingCounters(sums)
  }
}
