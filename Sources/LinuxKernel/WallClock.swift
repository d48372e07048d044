// SPDX-License-Identifier: Apache-2.0

import Glibc

/// CLOCK_REALTIME, for timestamps that people read; everything that decides uses `MonotonicTime`.
public enum WallClock {
  /// Microseconds since 1970-01-01 UTC.
  public static func microseconds() -> Int64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000
  }
}

/// The standard streams of this process.
public enum StandardStream: Int32, Sendable {
  case output = 1
  case error = 2

  /// Writes everything in as few calls as the kernel allows, so that lines of several threads do not mix. Errors are
  /// swallowed: there is no place left to report them.
  public func write(_ text: String) {
    var bytes = Array(text.utf8)[...]
    let raw = rawValue
    while !bytes.isEmpty {
      let count = try? Syscall.call("write") {
        unsafe bytes.withUnsafeBytes { unsafe Glibc.write(raw, $0.baseAddress, $0.count) }
      }
      guard let count, count > 0 else { return }
      bytes = bytes.dropFirst(count)
    }
  }
}
