// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Reads CLOCK_REALTIME, for dates that people and HTTP clients read.
public enum WallClock {
  /// Seconds since 1970.
  public static func seconds() -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(max(0, time.tv_sec))
  }
}
