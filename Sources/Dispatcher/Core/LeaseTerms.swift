// SPDX-License-Identifier: Apache-2.0

/// Which decisions a distributor may repeat by itself, and for how long.
public struct LeaseTerms: Hashable, Sendable, BitwiseCopyable {
  /// The most requests that one worker may send to one back-end before it asks again; 0 for no leases.
  public var credits: UInt16
  /// Nanoseconds for which the back-end of a target may be remembered, 1 ms to 65 s.
  public var time: UInt64

  public init(credits: UInt16, time: UInt64) {
    self.credits = credits
    self.time = max(1_000_000, min(time, 65_000_000_000))
  }

  public static let none = LeaseTerms(credits: 0, time: 0)

  @inline(__always)
  var isOn: Bool { credits > 0 }
}
