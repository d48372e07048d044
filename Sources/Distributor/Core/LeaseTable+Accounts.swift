// SPDX-License-Identifier: Apache-2.0

public import ControlProtocol
internal import Rules

extension LeaseTable {
  /// When `collect` has something to do; nil while no credit is left and nothing is untold.
  public var nextDeadline: UInt64? {
    let next = min(tellAt, credits + lent > 0 ? sweepAt : .max)
    return next == .max ? nil : next
  }

  /// Appends what the dispatcher must be told now.
  ///
  /// - Parameter alongside: something is sent to it anyway, so nothing waits.
  public mutating func collect(now: UInt64, alongside: Bool, into list: inout [LeaseAccount]) {
    if now >= sweepAt { sweep(now: now) }
    guard alongside || now >= tellAt else { return }
    if !pending.isEmpty || !accounts.isEmpty {
      // A multiple, when the driver looks after other things as well.
      pausesUntil = (now / LeaseTable.tellingInterval + 1) * LeaseTable.tellingInterval
    }
    usedBefore = used
    for index in pending where entries[index].used > 0 { displace(index) }
    pending.removeAll(keepingCapacity: true)
    list.append(contentsOf: accounts)
    accounts.removeAll(keepingCapacity: true)
    tellAt = .max
  }

  /// The dispatcher is lost: it counts anew, and nobody is there to be told. What the kernel tells of credits that were lent
  /// before this is no longer for `usedInKernel`.
  public mutating func forget() {
    forgotten += credits + lent
    credits = 0
    lent = 0
    for index in entries.indices { entries[index] = Entry() }
    for index in purses.indices { purses[index] = Purse() }
    pending.removeAll(keepingCapacity: true)
    accounts.removeAll(keepingCapacity: true)
    tellAt = .max
    pausesUntil = 0
    sweepAt = .max
  }

  /// Returns credits whose time is over.
  private mutating func sweep(now: UInt64) {
    sweepAt = .max
    for index in purses.indices where purses[index].credits + purses[index].lent > 0 {
      // What is lent and not back by now is used, and will be told.
      if purses[index].expires <= now {
        drop(backEnd: UInt16(index), now: now)
      } else {
        sweepAt = min(sweepAt, purses[index].expires)
      }
    }
  }

  mutating func giveBack(_ credits: UInt32, of backEnd: UInt16, term: UInt32, now: UInt64) {
    var left = credits
    while left > 0 {
      let part = UInt16(clamping: left)
      accounts.append(
        LeaseAccount(target: 0, pool: .every, backEnd: BackEndID(backEnd), term: term, used: 0, returned: part))
      left -= UInt32(part)
    }
    returned += UInt64(credits)
    if credits > 0 { tellWithin(LeaseTable.tellingDelay, of: now) }
  }

  /// Takes the uses of an entry to account. It may stay in the list, where it means nothing while it has no uses.
  mutating func displace(_ index: Int) {
    let entry = entries[index]
    accounts.append(
      LeaseAccount(
        target: entry.target, pool: entry.pool, backEnd: BackEndID(entry.backEnd), term: entry.term, used: entry.used,
        returned: 0)
    )
    entries[index].used = 0
  }
}
