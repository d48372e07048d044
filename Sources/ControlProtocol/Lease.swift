// SPDX-License-Identifier: Apache-2.0

public import Rules

/// The right to send further requests to the back-end of a decision without asking: requests for the same target and pool
/// that stick to nothing and exclude nothing. Each takes one credit, which counts as a connection of the back-end until it
/// is used or given back (`LeaseAccount`).
public struct Lease: Hashable, Sendable, BitwiseCopyable {
  /// At least 1.
  public var credits: UInt16
  /// How long the credits may be used, in milliseconds from the arrival of the decision.
  public var milliseconds: UInt16
  /// Names the process that the back-end was when the credits were granted; returned unchanged with them.
  public var term: UInt32

  public init(credits: UInt16, milliseconds: UInt16, term: UInt32) {
    self.credits = credits
    self.milliseconds = milliseconds
    self.term = term
  }
}

/// What a distributor did with credits of one lease since it last told.
public struct LeaseAccount: Hashable, Sendable, BitwiseCopyable {
  public var target: UInt64
  public var pool: PoolID
  public var backEnd: BackEndID
  public var term: UInt32
  /// Connections that went to the back-end.
  public var used: UInt16
  /// Credits that will not be used.
  public var returned: UInt16

  public init(target: UInt64, pool: PoolID, backEnd: BackEndID, term: UInt32, used: UInt16, returned: UInt16) {
    self.target = target
    self.pool = pool
    self.backEnd = backEnd
    self.term = term
    self.used = used
    self.returned = returned
  }
}
