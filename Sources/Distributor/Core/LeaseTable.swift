// SPDX-License-Identifier: Apache-2.0

internal import ControlProtocol
public import Rules

/// Decisions that a worker may repeat without asking.
///
/// Two things must be there for it: the target's back-end, which the dispatcher named a short time ago, and a credit of that
/// back-end. Targets are kept in sets of eight entries in a table of fixed size, credits in one pool per back-end; nothing is
/// allocated per request. Every credit ends as used or returned in exactly one account, unless the dispatcher is lost before
/// it is told.
///
/// Credits can be lent to the program in the kernel, which uses them by itself and tells of it later (`LeaseTable+Lent`).
public struct LeaseTable: Sendable {
  /// A target's back-end.
  struct Entry: Sendable, BitwiseCopyable {
    var target: UInt64 = 0
    /// 0 for an entry that is over.
    var expires: UInt64 = 0
    var pool = PoolID.every
    /// Of the credits that were used.
    var term: UInt32 = 0
    var backEnd: UInt16 = 0
    /// Credits used and not accounted for yet; in the list of such entries when not 0.
    var used: UInt16 = 0
  }

  /// Credits of one back-end.
  struct Purse: Sendable, BitwiseCopyable {
    var credits: UInt32 = 0
    /// Credits that the kernel has, or has used without our knowing of it yet.
    var lent: UInt32 = 0
    var term: UInt32 = 0
    var expires: UInt64 = 0
  }

  /// Nanoseconds after which a use is told, unless something else is sent before.
  public static let tellingDelay: UInt64 = 5_000_000
  /// Nanoseconds between two tellings, unless something else is sent or there is much to tell: each wakes the dispatcher.
  public static let tellingInterval: UInt64 = 50_000_000
  /// So many uses are told without regard to the interval: new credits come for them.
  public static let usesTogether = 64
  /// Nanoseconds after a grant in which credits are used, or go back: they take up room at the back-end.
  public static let creditTime: UInt64 = 250_000_000
  /// Numbers of back-ends are below this.
  public static let backEnds = 64
  private static let ways = 8

  /// Targets given up for others before their time.
  public internal(set) var evictions: UInt64 = 0
  /// Credits by what became of them: `granted == used + returned + forgotten + credits + lent`.
  public internal(set) var granted: UInt64 = 0
  public internal(set) var used: UInt64 = 0
  public internal(set) var returned: UInt64 = 0
  /// Credits that were left when the dispatcher was lost.
  public internal(set) var forgotten: UInt64 = 0
  /// Credits that are left.
  public internal(set) var credits: UInt64 = 0
  /// Credits that are lent.
  public internal(set) var lent: UInt64 = 0

  var entries: [Entry]
  var purses = [Purse](repeating: Purse(), count: LeaseTable.backEnds)
  /// Entries with uses to tell of.
  var pending: [Int] = []
  /// Accounts that belong to no entry.
  var accounts: [LeaseAccount] = []
  var tellAt = UInt64.max
  /// Nothing is told before this by itself.
  var pausesUntil: UInt64 = 0
  /// Uses until the last telling.
  var usedBefore: UInt64 = 0
  /// No purse is over before this.
  var sweepAt = UInt64.max

  /// - Parameter capacity: targets, rounded up to a power of two of at least 8; 32 bytes each.
  public init(capacity: Int = 16_384) {
    var rounded = LeaseTable.ways
    while rounded < min(capacity, 1 << 24) { rounded *= 2 }
    entries = Array(repeating: Entry(), count: rounded)
    pending.reserveCapacity(rounded)
    accounts.reserveCapacity(LeaseTable.backEnds)
  }

  private func ways(_ target: UInt64, _ pool: PoolID) -> Range<Int> {
    let key = (target ^ UInt64(pool.rawValue)) &* 0x9e37_79b9_7f4a_7c15
    let first = Int(truncatingIfNeeded: key.multipliedFullWidth(by: UInt64(entries.count / LeaseTable.ways)).high)
    return first * LeaseTable.ways..<(first + 1) * LeaseTable.ways
  }

  /// Takes a credit for a request that sticks to nothing and excludes nothing; nil when the dispatcher must be asked.
  public mutating func take(target: UInt64, pool: PoolID, now: UInt64) -> UInt16? {
    guard credits > 0, let index = find(target, pool), now < entries[index].expires else { return nil }
    let backEnd = entries[index].backEnd
    let purse = purses[Int(backEnd)]
    guard purse.credits > 0, now < purse.expires else { return nil }
    purses[Int(backEnd)].credits -= 1
    credits -= 1
    countUse(index, term: purse.term, now: now)
    return backEnd
  }

  func find(_ target: UInt64, _ pool: PoolID) -> Int? {
    for index in ways(target, pool) where holds(index, target, pool) { return index }
    return nil
  }

  mutating func tellWithin(_ delay: UInt64, of now: UInt64) {
    tellAt = min(tellAt, used - usedBefore < LeaseTable.usesTogether ? max(now &+ delay, pausesUntil) : now)
  }

  /// - Parameter delay: how long others may wait for more like it.
  mutating func countUse(_ index: Int, term: UInt32, now: UInt64, tellWithin delay: UInt64 = LeaseTable.tellingDelay) {
    if entries[index].used > 0, entries[index].term != term || entries[index].used == .max { displace(index) }
    if entries[index].used == 0 { pending.append(index) }
    entries[index].term = term
    entries[index].used += 1
    used += 1
    tellWithin(delay, of: now)
  }

  /// The dispatcher named a target's back-end and gave credits of it, perhaps none because it gave some before.
  ///
  /// - Parameter time: nanoseconds for which the target may be remembered.
  public mutating func grant(
    target: UInt64, pool: PoolID, backEnd: UInt16, credits: UInt16, time: UInt64, term: UInt32, now: UInt64
  ) {
    granted += UInt64(credits)
    guard Int(backEnd) < LeaseTable.backEnds else {
      giveBack(UInt32(credits), of: backEnd, term: term, now: now)
      return
    }
    let index = place(target, pool, now: now)
    if entries[index].used > 0, !holds(index, target, pool) || entries[index].backEnd != backEnd { displace(index) }
    entries[index].target = target
    entries[index].pool = pool
    entries[index].backEnd = backEnd
    entries[index].expires = now &+ time
    put(credits, of: backEnd, term: term, now: now)
  }

  /// The dispatcher gave further credits of a back-end, for what was used of earlier ones.
  public mutating func renew(backEnd: UInt16, credits: UInt16, term: UInt32, now: UInt64) {
    granted += UInt64(credits)
    guard Int(backEnd) < LeaseTable.backEnds else {
      giveBack(UInt32(credits), of: backEnd, term: term, now: now)
      return
    }
    put(credits, of: backEnd, term: term, now: now)
  }

  private mutating func put(_ credits: UInt16, of backEnd: UInt16, term: UInt32, now: UInt64) {
    let number = Int(backEnd)
    if purses[number].term != term || now >= purses[number].expires { drop(backEnd: backEnd, now: now) }
    if credits == 0 { return }
    self.credits += UInt64(credits)
    purses[number].credits += UInt32(credits)
    purses[number].term = term
    purses[number].expires = now &+ LeaseTable.creditTime
    sweepAt = min(sweepAt, purses[number].expires)
  }

  /// The dispatcher decided for a target without a lease: what is known of it may be wrong.
  public mutating func revoke(target: UInt64, pool: PoolID) {
    if let index = find(target, pool) { entries[index].expires = 0 }
  }

  private func holds(_ index: Int, _ target: UInt64, _ pool: PoolID) -> Bool {
    entries[index].target == target && entries[index].pool == pool
  }

  /// The entry of a target, or the one that ends first.
  private mutating func place(_ target: UInt64, _ pool: PoolID, now: UInt64) -> Int {
    let ways = ways(target, pool)
    var first = ways.lowerBound
    for index in ways {
      if holds(index, target, pool) { return index }
      if entries[index].expires < entries[first].expires { first = index }
    }
    if entries[first].expires > now { evictions += 1 }
    return first
  }

  /// An entry that only counts, for a target that another worker was told of, or that was given up meanwhile; nil without a
  /// place that nobody needs.
  mutating func placeForUses(_ target: UInt64, _ backEnd: UInt16, now: UInt64) -> Int? {
    guard let index = ways(target, .every).first(where: { entries[$0].expires <= now }) else { return nil }
    if entries[index].used > 0 { displace(index) }
    entries[index] = Entry(target: target, expires: 0, pool: .every, term: 0, backEnd: backEnd, used: 0)
    return index
  }

  /// The back-end refuses or is lost: what is left of it is returned. Its targets must be asked for, unless the dispatcher
  /// gives new credits of it.
  public mutating func drop(backEnd: UInt16, now: UInt64) {
    guard Int(backEnd) < LeaseTable.backEnds else { return }
    let left = purses[Int(backEnd)].credits
    if left == 0 { return }
    purses[Int(backEnd)].credits = 0
    credits -= UInt64(left)
    giveBack(left, of: backEnd, term: purses[Int(backEnd)].term, now: now)
  }

  /// The membership changed: everything that is left is returned, and no target is known.
  public mutating func dropAll(now: UInt64) {
    for backEnd in 0..<LeaseTable.backEnds { drop(backEnd: UInt16(backEnd), now: now) }
    for index in entries.indices { entries[index].expires = 0 }
  }
}
