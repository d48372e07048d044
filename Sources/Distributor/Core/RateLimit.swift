// SPDX-License-Identifier: Apache-2.0

/// A token bucket that holds one second's worth.
struct RateLimit {
  private let interval: UInt64
  private let burst: UInt64
  /// The time up to which tokens are spent (the virtual scheduling form of the generic cell rate algorithm).
  private var spent: UInt64 = 0

  init(perSecond rate: UInt32) {
    interval = rate == 0 ? .max : 1_000_000_000 / UInt64(rate)
    burst = rate == 0 ? 0 : 1_000_000_000
  }

  /// Takes a token; false when there is none.
  mutating func allows(at now: UInt64) -> Bool {
    guard burst > 0 else { return false }
    let start = max(spent, now > burst ? now - burst : 0)
    guard start + interval <= now else { return false }
    spent = start + interval
    return true
  }
}
