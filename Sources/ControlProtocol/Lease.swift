// SPDX-License-Identifier: Apache-2.0

public import Rules

/// The right to send further requests for the target of a decision to its back-end without asking: requests for the same
/// pool that stick to nothing and exclude nothing. Each takes a credit of the back-end, whichever target it was given with.
/// A credit takes up room at the back-end until it is used or given back (`LeaseAccount`).
public struct Lease: Hashable, Sendable, BitwiseCopyable {
  /// Further credits; 0 when the distributor has enough.
  public var credits: UInt16
  /// How long the target's back-end may be remembered, in milliseconds from the arrival of the decision; at least 1.
  public var milliseconds: UInt16
  /// Names the process that the back-end was when the credits were granted; returned unchanged with them.
  public var term: UInt32

  public init(credits: UInt16, milliseconds: UInt16, term: UInt32) {
    self.credits = credits
    self.milliseconds = milliseconds
    self.term = term
  }
}

/// What a distributor did with credits of one back-end since it last told: used for one target, or returned.
public struct LeaseAccount: Hashable, Sendable, BitwiseCopyable {
  /// Without a meaning when none was used.
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

/// Where requests for a target of the whole cluster go, as another distributor was told in a `Lease`. Without credits.
public struct TargetLease: Hashable, Sendable, BitwiseCopyable {
  public var target: UInt64
  public var backEnd: BackEndID
  /// From the arrival of the message; at least 1.
  public var milliseconds: UInt16

  public init(target: UInt64, backEnd: BackEndID, milliseconds: UInt16) {
    self.target = target
    self.backEnd = backEnd
    self.milliseconds = milliseconds
  }
}

/// Further credits of a back-end, for what was used of earlier ones. They end with the same rules as those of a `Lease`.
public struct LeaseCredit: Hashable, Sendable, BitwiseCopyable {
  public var backEnd: BackEndID
  public var credits: UInt16
  public var term: UInt32

  public init(backEnd: BackEndID, credits: UInt16, term: UInt32) {
    self.backEnd = backEnd
    self.credits = credits
    self.term = term
  }
}
