// SPDX-License-Identifier: Apache-2.0

import Handoff
import Synchronization

/// Connections that ended while the control connection of the distributor's worker that handed them over was broken. All
/// event loops share it: the worker's next control connection may be another loop's.
final class UntoldEnds: Sendable {
  private struct Ends {
    /// When the first of them came, in nanoseconds.
    var since: UInt64
    var ids: [HandoffID] = []
  }

  /// By `HandoffOrigin`.
  private let ends = Mutex<[UInt64: Ends]>([:])

  /// Distributors that stay away for longer have forgotten their connections here.
  private static let patience: UInt64 = 15_000_000_000

  func keep(_ ids: [HandoffID], for origin: UInt64, now: UInt64) {
    if ids.isEmpty { return }
    ends.withLock { $0[origin, default: Ends(since: now)].ids += ids }
  }

  /// Takes those that a worker has to be told of.
  func take(_ origin: UInt64) -> [HandoffID] { ends.withLock { $0.removeValue(forKey: origin)?.ids ?? [] } }

  /// Drops what nobody came for.
  func expire(_ now: UInt64) {
    ends.withLock { ends in
      if ends.isEmpty { return }
      ends = ends.filter { now < $0.value.since + UntoldEnds.patience }
    }
  }
}
