// SPDX-License-Identifier: Apache-2.0

extension LeaseTable {
  /// When `collect` has something to do; nil while no lease is out and nothing is untold.
  public var nextDeadline: UInt64? {
    let next = min(tellAt, live > 0 ? sweepAt : .max)
    return next == .max ? nil : next
  }

  /// Appends what the dispatcher must be told now.
  ///
  /// - Parameter alongside: something is sent to it anyway, so nothing waits.
  public mutating func collect(now: UInt64, alongside: Bool, into accounts: inout [Account]) {
    if live > 0, now >= sweepAt { sweep(now: now) }
    guard alongside || now >= tellAt else { return }
    accounts.append(contentsOf: displaced)
    displaced.removeAll(keepingCapacity: true)
    for index in pending {
      if let account = account(index) { accounts.append(account) }
      entries[index].used = 0
      entries[index].returned = 0
      entries[index].isPending = false
    }
    pending.removeAll(keepingCapacity: true)
    tellAt = .max
  }

  /// The dispatcher is lost: it counts anew, and nobody is there to be told.
  public mutating func forget() {
    for index in entries.indices where !entries[index].isFree {
      forgotten += UInt64(entries[index].credits)
      entries[index] = Entry()
    }
    pending.removeAll(keepingCapacity: true)
    displaced.removeAll(keepingCapacity: true)
    live = 0
    tellAt = .max
    sweepAt = .max
  }

  private mutating func sweep(now: UInt64) {
    lastSweep = now
    var earliest = UInt64.max
    for index in entries.indices where entries[index].credits > 0 {
      if entries[index].expires <= now {
        retire(index, now: now)
      } else {
        earliest = min(earliest, entries[index].expires)
      }
    }
    sweepAt = earliest == .max ? .max : max(earliest, now &+ LeaseTable.sweepInterval)
  }

  /// Returns what is left of a lease.
  mutating func retire(_ index: Int, now: UInt64) {
    let left = entries[index].credits
    guard left > 0 else { return }
    entries[index].credits = 0
    entries[index].returned += left
    returned += UInt64(left)
    live -= 1
    mark(index, now: now)
  }

  mutating func mark(_ index: Int, now: UInt64) {
    tellAt = min(tellAt, now &+ LeaseTable.tellingDelay)
    guard !entries[index].isPending else { return }
    entries[index].isPending = true
    pending.append(index)
  }

  /// Puts an entry's account aside, so that another lease can have the entry.
  mutating func displace(_ index: Int) {
    if let account = account(index) { displaced.append(account) }
    entries[index].used = 0
    entries[index].returned = 0
  }

  private func account(_ index: Int) -> Account? {
    let entry = entries[index]
    guard entry.used > 0 || entry.returned > 0 else { return nil }
    return Account(
      target: entry.target, pool: entry.pool, backEnd: entry.backEnd, term: entry.term, used: entry.used,
      returned: entry.returned)
  }
}
