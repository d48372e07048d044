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
}
