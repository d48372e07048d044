// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The clock of the programs: the kernel's at its last tick, which a machine that is away for a while makes late.
enum CoarseClock {
  /// Nanoseconds, never later than `MonotonicTime.now()`.
  static func now() -> UInt64 {
    var time = timespec()
    _ = unsafe clock_gettime(CLOCK_MONOTONIC_COARSE, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}
