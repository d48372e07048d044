// SPDX-License-Identifier: Apache-2.0

/// Connections that were assigned to one back-end and that it has not yet reported: on their way through a distributor.
/// Counted by age, so that assignments whose distributor died are forgotten after `lifetime` instead of weighing for ever.
struct InFlightAssignments: Sendable, BitwiseCopyable {
  static let buckets = 8

  private(set) var total: UInt32 = 0
  private var counts = InlineArray<8, UInt32>(repeating: 0)
  private var current = 0

  mutating func add(_ count: UInt32 = 1) {
    counts[current] += count
    total += count
  }

  /// Takes up to `count` of the oldest away and returns how many there were.
  mutating func remove(_ count: UInt32) -> UInt32 {
    var left = min(count, total)
    let removed = left
    total -= removed
    var bucket = current
    while left > 0 {
      bucket = (bucket + 1) % InFlightAssignments.buckets
      let taken = min(left, counts[bucket])
      counts[bucket] -= taken
      left -= taken
    }
    return removed
  }

  /// Takes one of the youngest away; false when there is none.
  mutating func removeYoungest() -> Bool {
    guard total > 0 else { return false }
    var bucket = current
    while counts[bucket] == 0 { bucket = (bucket + InFlightAssignments.buckets - 1) % InFlightAssignments.buckets }
    counts[bucket] -= 1
    total -= 1
    return true
  }

  /// A new period begins; returns how many assignments became too old and were forgotten.
  mutating func rotate() -> UInt32 {
    current = (current + 1) % InFlightAssignments.buckets
    let expired = counts[current]
    counts[current] = 0
    total -= expired
    return expired
  }

  mutating func clear() { self = InFlightAssignments() }
}
