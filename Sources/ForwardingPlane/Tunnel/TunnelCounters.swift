// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import LinuxKernel

/// How a packet left the tunnel-exit program. Every packet that the hook sees has exactly one.
///
/// The raw values are those of `enum tunnel_outcome` in tunnel.h.
public enum TunnelOutcome: Int, CaseIterable, Hashable, Sendable {
  /// Not a datagram to the tunnel's port. Passed.
  case other
  /// Shorter than its own headers say, or no IP packet inside. Dropped.
  case malformed
  /// A fragment of a datagram. Passed; nobody listens at the port.
  case fragment
  /// Not from a distributor of the cluster. Dropped.
  case stranger
  /// For an address that this node does not serve, or neither TCP nor ICMP. Dropped.
  case notServed
  /// Taken out of the tunnel and passed on to the node's TCP.
  case decapsulated
  /// The frame could not be rewritten because the kernel is out of memory. Dropped; the client retransmits.
  case rewriteFailed

  /// The value of the metric's label `outcome`.
  public var label: String {
    switch self {
    case .other: "other"
    case .malformed: "malformed"
    case .fragment: "fragment"
    case .stranger: "stranger"
    case .notServed: "not_served"
    case .decapsulated: "decapsulated"
    case .rewriteFailed: "rewrite_failed"
    }
  }
}

/// The program's per-CPU counters. Any thread may read.
public struct TunnelCounterArray: Sendable {
  private let map: SharedDescriptor
  private let cpus: Int
  private static let outcomes = Int(TUNNEL_OUTCOMES.rawValue)

  init(_ map: SharedDescriptor) throws(ForwardingPlaneError) {
    self.map = map
    do {
      cpus = Int(try LibBPF.call("libbpf_num_possible_cpus") { libbpf_num_possible_cpus() })
    } catch {
      throw .system(error)
    }
  }

  /// Packets by outcome since the program was attached: the sums over all CPUs, in the order of `TunnelOutcome`.
  public func read() -> [UInt64] {
    unsafe withUnsafeTemporaryAllocation(of: UInt64.self, capacity: cpus * TunnelCounterArray.outcomes) { values in
      var zero: UInt32 = 0
      // SAFETY: the kernel writes one tunnel_counters, a multiple of 8 bytes, for each possible CPU: all of `values`.
      let result = unsafe bpf_map_lookup_elem(map.raw, &zero, values.baseAddress)
      precondition(result == 0, "reading an existing array element failed with \(result)")
      var sums = [UInt64](repeating: 0, count: TunnelCounterArray.outcomes)
      for index in 0..<values.count { sums[index % TunnelCounterArray.outcomes] &+= unsafe values[index] }
      return sums
    }
  }
}
