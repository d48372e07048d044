// SPDX-License-Identifier: Apache-2.0

/// How much a relay may read at once. What a slow sink does not take is held in memory; the more is held, the less is read.
///
/// Bound per event loop: `budget` + 2 x `smallest` x connections. At most one read of each direction is held, and a read is
/// larger than `smallest` only while the sum of all held bytes is below the budget by 16 times that size.
public struct HoldPolicy: Hashable, Sendable, BitwiseCopyable {
  /// Bytes that all connections of one loop may hold together before reads shrink to `smallest`.
  public var budget: Int
  /// The largest read in bytes.
  public var largest: Int
  /// The smallest read in bytes: progress is never denied.
  public var smallest: Int

  public init(budget: Int = 64 << 20, largest: Int = 256 << 10, smallest: Int = 4 << 10) {
    self.budget = budget
    self.largest = largest
    self.smallest = smallest
  }

  /// Bytes to read next when `held` bytes are held.
  @inlinable
  public func readLimit(held: Int) -> Int { max(smallest, min(largest, (budget - held) / 16)) }

  /// The most that can be held with this many connections.
  public func bound(connections: Int) -> Int { budget + 2 * smallest * connections }
}
