// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import LinuxKernel

/// How a packet left the serving program. Every packet that its hooks see has exactly one.
///
/// The raw values are those of `enum serve_outcome` in serve_plane.h.
public enum ServeOutcome: Int, CaseIterable, Hashable, Sendable {
  /// Not TCP over IPv4 or IPv6, tagged, a fragment, not addressed to this node, or to an endpoint that is not served.
  case notService
  /// Shorter than its own headers say, or with a header length that is not allowed. Passed.
  case malformed
  /// A SYN: passed, the kernel answers it like any node's.
  case syn
  /// FIN, RST or no payload: passed, the kernel treats it as usual whether there is a connection or not.
  case control
  /// Payload for a connection of this node: passed.
  case connection
  /// Payload without a connection: dropped, because a reset could hit a connection that is just being installed.
  case noConnection
  /// The agent's segment of a handed-off connection, given to the web server's listener.
  case assigned
  /// The same, but the 4-tuple is in use: dropped.
  case tupleBusy
  /// The same, but nobody listens: dropped.
  case noListener
  /// The same, but the kernel refused the assignment: dropped.
  case refused
  /// A handoff by packet that is none of the protocol: dropped.
  case handoffMalformed
  /// A handoff by packet with a wrong tag: dropped.
  case handoffForged
  /// A second copy of a handoff by packet: dropped.
  case handoffRepeated
  /// A handoff by packet for an address that is not served any more, or while no agent takes any: dropped.
  case handoffUnattended
  /// A handoff by packet for which the kernel had no memory: dropped.
  case handoffFailed
  /// A handoff by packet, given to the web server's listener.
  case handoffAssigned

  /// The value of the metric's label `outcome`.
  public var label: String {
    switch self {
    case .notService: "not_service"
    case .malformed: "malformed"
    case .syn: "syn"
    case .control: "control"
    case .connection: "connection"
    case .noConnection: "no_connection"
    case .assigned: "assigned"
    case .tupleBusy: "tuple_busy"
    case .noListener: "no_listener"
    case .refused: "refused"
    case .handoffMalformed: "handoff_malformed"
    case .handoffForged: "handoff_forged"
    case .handoffRepeated: "handoff_repeated"
    case .handoffUnattended: "handoff_unattended"
    case .handoffFailed: "handoff_failed"
    case .handoffAssigned: "handoff_assigned"
    }
  }
}

/// What the serving plane's programs have seen since they were loaded.
public struct ServeCounters: Hashable, Sendable {
  private var packets: [UInt64]
  /// Connections that the web server's listener took.
  public var established: UInt64
  /// Ends of connections that the kernel told.
  public var ended: UInt64
  /// Events that found their ring full.
  public var eventsLost: UInt64
  /// Connections for whose record the kernel had no memory.
  public var untracked: UInt64
  /// Resets that clients were spared because their connection had moved.
  public var silenced: UInt64

  public subscript(outcome: ServeOutcome) -> UInt64 { packets[outcome.rawValue] }
  /// Every packet that the hooks saw.
  public var total: UInt64 { packets.reduce(0, &+) }

  fileprivate init(_ sums: [UInt64]) {
    let outcomes = Int(SERVE_OUTCOMES.rawValue)
    packets = Array(sums[..<outcomes])
    established = sums[outcomes]
    ended = sums[outcomes + 1]
    eventsLost = sums[outcomes + 2]
    untracked = sums[outcomes + 3]
    silenced = sums[outcomes + 4]
  }
}

/// The serving plane's per-CPU counters.
struct ServeCounterArray: Sendable {
  private let map: SharedDescriptor
  private let cpus: Int

  init(_ map: SharedDescriptor) throws(SystemError) {
    self.map = map
    cpus = Int(try LibBPF.call("libbpf_num_possible_cpus") { libbpf_num_possible_cpus() })
  }

  /// The sums over all CPUs.
  func read() -> ServeCounters {
    let fields = MemoryLayout<serve_counters>.size / 8
    var values = [UInt64](repeating: 0, count: cpus * fields)
    var zero: UInt32 = 0
    // SAFETY: the kernel writes one serve_counters, a multiple of 8 bytes, for each possible CPU: all of `values`.
    let result = unsafe values.withUnsafeMutableBytes { unsafe bpf_map_lookup_elem(map.raw, &zero, $0.baseAddress) }
    precondition(result == 0, "reading an existing array element failed with \(result)")
    var sums = [UInt64](repeating: 0, count: fields)
    for index in values.indices { sums[index % fields] &+= values[index] }
    return ServeCounters(sums)
  }
}
