// SPDX-License-Identifier: Apache-2.0

/// What the distributor's program in the kernel says of a connection that it handed off by itself, under a lease of the
/// dispatcher (`docs/design/leased-handoff.md`).
public struct LeasedHandoff: Hashable, Sendable, BitwiseCopyable {
  public var id: HandoffID
  public var backEnd: UInt16
  /// `TargetHash` of path and query.
  public var target: UInt64
  /// In which the credit was granted that it took.
  public var term: UInt32
  /// The worker's epoch when the credit was taken.
  public var epoch: UInt32

  public init(id: HandoffID, backEnd: UInt16, target: UInt64, term: UInt32, epoch: UInt32) {
    self.id = id
    self.backEnd = backEnd
    self.target = target
    self.term = term
    self.epoch = epoch
  }
}
