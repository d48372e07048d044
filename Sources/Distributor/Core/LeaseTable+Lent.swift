// SPDX-License-Identifier: Apache-2.0

internal import ControlProtocol
public import Rules

/// Credits in the kernel. The driver lends them, takes back what is left before anything happens to a back-end's purse, and
/// hands in what the kernel tells of those that it has used.
extension LeaseTable {
  /// What is lent at once.
  public struct Loan: Hashable, Sendable, BitwiseCopyable {
    public var credits: UInt32
    public var term: UInt32
    /// Nanoseconds; also for what was lent before.
    public var expires: UInt64
  }

  /// Takes all credits of a back-end out of its purse, for the kernel; nil when there are none.
  public mutating func lend(backEnd: UInt16, now: UInt64) -> Loan? {
    guard Int(backEnd) < LeaseTable.backEnds else { return nil }
    let purse = purses[Int(backEnd)]
    guard purse.credits > 0, now < purse.expires else { return nil }
    purses[Int(backEnd)].credits = 0
    purses[Int(backEnd)].lent += purse.credits
    credits -= UInt64(purse.credits)
    lent += UInt64(purse.credits)
    return Loan(credits: purse.credits, term: purse.term, expires: purse.expires)
  }

  /// Puts credits back that the kernel has not used.
  public mutating func takeBack(_ returned: UInt32, backEnd: UInt16) {
    guard Int(backEnd) < LeaseTable.backEnds else { return }
    let back = min(returned, purses[Int(backEnd)].lent)
    purses[Int(backEnd)].lent -= back
    purses[Int(backEnd)].credits += back
    lent -= UInt64(back)
    credits += UInt64(back)
  }

  /// The kernel has used a credit for a request of `PoolID.every`.
  ///
  /// - Parameter term: in which the credit was granted.
  public mutating func usedInKernel(target: UInt64, backEnd: UInt16, term: UInt32, now: UInt64) {
    guard Int(backEnd) < LeaseTable.backEnds, purses[Int(backEnd)].lent > 0 else { return }
    purses[Int(backEnd)].lent -= 1
    lent -= 1
    if let index = find(target, .every) ?? placeForUses(target, backEnd, now: now), entries[index].backEnd == backEnd {
      // It has waited in the ring.
      countUse(index, term: term, now: now, tellWithin: 0)
      return
    }
    accounts.append(
      LeaseAccount(target: target, pool: .every, backEnd: BackEndID(backEnd), term: term, used: 1, returned: 0))
    used += 1
    tellWithin(0, of: now)
  }

  /// Whether taking back what is lent of a back-end could help a request for this target, which `take` has refused.
  public func lender(target: UInt64, pool: PoolID, now: UInt64) -> UInt16? {
    guard lent > 0, let index = find(target, pool), now < entries[index].expires,
      purses[Int(entries[index].backEnd)].lent > 0
    else { return nil }
    return entries[index].backEnd
  }

  /// Whether `collect` would have to return credits of a back-end whose time is over, if they were not lent.
  public func isOverdue(backEnd: UInt16, now: UInt64) -> Bool {
    purses[Int(backEnd)].lent > 0 && purses[Int(backEnd)].expires <= now
  }

  /// Whether some purse's time may be over.
  public func mayBeOverdue(now: UInt64) -> Bool { lent > 0 && now >= sweepAt }
}
