// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Reads CLOCK_MONOTONIC. Pure modules never call this: time is passed to them as nanoseconds.
public enum MonotonicTime {
  /// Nanoseconds since an arbitrary start.
  public static func now() -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  /// The next multiple of an interval: what a loop does at ticks it does with one wake-up.
  public static func tick(after now: UInt64, every interval: UInt64) -> UInt64 { (now / interval + 1) * interval }
}
