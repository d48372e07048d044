// SPDX-License-Identifier: Apache-2.0

/// When to try again after a failure: 0.1 s, doubling to 2 s. No jitter: a cluster has few nodes, and every role accepts
/// connections much faster than they can arrive.
public struct Backoff: Sendable, BitwiseCopyable {
  public static let shortest: UInt64 = 100_000_000
  public static let longest: UInt64 = 2_000_000_000

  private var next = Backoff.shortest

  public init() {}

  /// The wait after one more failure, in nanoseconds.
  public mutating func failed() -> UInt64 {
    defer { next = min(next * 2, Backoff.longest) }
    return next
  }

  public mutating func succeeded() { next = Backoff.shortest }
}
