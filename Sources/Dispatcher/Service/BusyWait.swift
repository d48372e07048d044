// SPDX-License-Identifier: Apache-2.0

internal import LinuxKernel

/// Waits for the dispatcher's next events. While they come within microseconds of each other, it asks again and again
/// instead of sleeping: waking a sleeping thread takes longer than most decisions. As soon as one wait lasts longer than
/// `limit` it sleeps as anybody does, so that an idle or moderately loaded dispatcher costs nothing.
struct BusyWait {
  /// Nanoseconds; 0 always sleeps.
  let limit: UInt64
  /// Waits in a row that were over within the limit.
  private var shortWaits = 0
  /// Waits that were over without a sleep, and all.
  private(set) var spared: UInt64 = 0
  private(set) var waits: UInt64 = 0

  /// After so many short waits in a row the next is expected to be short too.
  private static let confidence = 8

  init(limit: UInt64) { self.limit = limit }

  mutating func wait(_ epoll: inout Epoll, until deadline: UInt64) -> Int {
    waits &+= 1
    let start = MonotonicTime.now()
    if shortWaits >= BusyWait.confidence {
      let end = min(deadline, start + limit)
      repeat {
        let count = epoll.wait(until: 0)
        if count > 0 {
          spared &+= 1
          return count
        }
      } while MonotonicTime.now() < end
      shortWaits = 0
      if deadline <= end { return 0 }
    }
    let count = epoll.wait(until: deadline)
    let isShort = limit > 0 && count > 0 && MonotonicTime.now() - start < limit
    shortWaits = isShort ? shortWaits + 1 : 0
    return count
  }
}
