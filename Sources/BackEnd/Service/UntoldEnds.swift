// SPDX-License-Identifier: Apache-2.0

import Handoff
import Synchronization
import Wire

/// Connections that ended while the control connection of the distributor's worker that handed them over was broken. All
/// event loops share it: the worker's next control connection may be another loop's.
final class UntoldEnds: Sendable {
  private struct Ends {
    /// When the first of them came, in nanoseconds.
    var since: UInt64
    var ids: [HandoffID] = []
  }

  private struct OrphanEnds {
    var flows: [(since: UInt64, flow: FlowTuple)] = []
    /// How many went before the first of `flows`.
    var dropped = 0
  }

  /// By `HandoffOrigin`.
  private let ends = Mutex<[UInt64: Ends]>([:])
  /// Of connections that an earlier agent had installed: nobody knows whose they are.
  private let orphans = Mutex(OrphanEnds())

  /// Distributors that stay away for longer have forgotten their connections here.
  private static let patience: UInt64 = 15_000_000_000

  func keep(_ ids: [HandoffID], for origin: UInt64, now: UInt64) {
    if ids.isEmpty { return }
    ends.withLock { $0[origin, default: Ends(since: now)].ids += ids }
  }

  /// Takes those that a worker has to be told of.
  func take(_ origin: UInt64) -> [HandoffID] { ends.withLock { $0.removeValue(forKey: origin)?.ids ?? [] } }

  func keepOrphan(_ flow: FlowTuple, now: UInt64) { orphans.withLock { $0.flows.append((now, flow)) } }

  /// Ends of orphans that came after the first `seen`. `seen` is advanced to the last.
  func orphans(after seen: inout Int) -> [FlowTuple] {
    orphans.withLock { orphans in
      let fresh = orphans.flows.dropFirst(max(0, seen - orphans.dropped)).map(\.flow)
      seen = orphans.dropped + orphans.flows.count
      return fresh
    }
  }

  /// Drops what nobody came for.
  func expire(_ now: UInt64) {
    ends.withLock { ends in
      if ends.isEmpty { return }
      ends = ends.filter { now < $0.value.since + UntoldEnds.patience }
    }
    orphans.withLock { orphans in
      let old = orphans.flows.prefix { now >= $0.since + UntoldEnds.patience }.count
      orphans.flows.removeFirst(old)
      orphans.dropped += old
    }
  }
}
