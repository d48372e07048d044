// SPDX-License-Identifier: Apache-2.0

public import Rules

/// Decisions that a worker may repeat without asking: the dispatcher's leases by target and pool.
///
/// Sets of eight entries in a table of fixed size; nothing is allocated per request. Every credit that was granted ends as
/// used or returned in exactly one account, unless the dispatcher is lost before it is told.
public struct LeaseTable: Sendable {
  /// What became of credits of one lease since they were last accounted for.
  public struct Account: Hashable, Sendable, BitwiseCopyable {
    public var target: UInt64
    public var pool: PoolID
    public var backEnd: UInt16
    public var term: UInt32
    public var used: UInt16
    public var returned: UInt16

    public init(target: UInt64, pool: PoolID, backEnd: UInt16, term: UInt32, used: UInt16, returned: UInt16) {
      self.target = target
      self.pool = pool
      self.backEnd = backEnd
      self.term = term
      self.used = used
      self.returned = returned
    }
  }

  struct Entry: Sendable, BitwiseCopyable {
    var target: UInt64 = 0
    var expires: UInt64 = 0
    var pool = PoolID.every
    var term: UInt32 = 0
    var backEnd: UInt16 = 0
    var credits: UInt16 = 0
    /// Not accounted for yet.
    var used: UInt16 = 0
    var returned: UInt16 = 0
    /// In the list of entries to account for.
    var isPending = false

    var isFree: Bool { credits == 0 && !isPending }
  }

  /// Nanoseconds after which a use is told, unless something else is sent before.
  public static let tellingDelay: UInt64 = 5_000_000
  /// Nanoseconds between two searches for leases that are over.
  public static let sweepInterval: UInt64 = 5_000_000
  private static let ways = 8

  /// Leases with credits left.
  public internal(set) var live = 0
  /// Leases given up for others before their time.
  public internal(set) var evictions: UInt64 = 0
  /// Credits by what became of them: `granted == used + returned + forgotten + those left`.
  public internal(set) var granted: UInt64 = 0
  public internal(set) var used: UInt64 = 0
  public internal(set) var returned: UInt64 = 0
  /// Credits that were left when the dispatcher was lost.
  public internal(set) var forgotten: UInt64 = 0

  var entries: [Entry]
  /// Entries with something to tell.
  var pending: [Int] = []
  /// Accounts of leases whose entries were needed for others.
  var displaced: [Account] = []
  var tellAt = UInt64.max
  var sweepAt = UInt64.max
  var lastSweep: UInt64 = 0

  /// - Parameter capacity: rounded up to a power of two of at least 8; 40 bytes each.
  public init(capacity: Int = 4096) {
    var rounded = LeaseTable.ways
    while rounded < min(capacity, 1 << 24) { rounded *= 2 }
    entries = Array(repeating: Entry(), count: rounded)
    pending.reserveCapacity(rounded)
    displaced.reserveCapacity(64)
  }

  private func ways(_ target: UInt64, _ pool: PoolID) -> Range<Int> {
    let key = (target ^ UInt64(pool.rawValue)) &* 0x9e37_79b9_7f4a_7c15
    let first = Int(truncatingIfNeeded: key.multipliedFullWidth(by: UInt64(entries.count / LeaseTable.ways)).high)
    return first * LeaseTable.ways..<(first + 1) * LeaseTable.ways
  }

  /// Takes a credit for a request that sticks to nothing and excludes nothing; nil when the dispatcher must be asked.
  public mutating func take(target: UInt64, pool: PoolID, now: UInt64) -> UInt16? {
    for index in ways(target, pool)
    where entries[index].target == target && entries[index].pool == pool && entries[index].credits > 0 {
      guard now < entries[index].expires else {
        retire(index, now: now)
        return nil
      }
      entries[index].credits -= 1
      entries[index].used += 1
      used += 1
      if entries[index].credits == 0 { live -= 1 }
      mark(index, now: now)
      return entries[index].backEnd
    }
    return nil
  }

  /// Enters a lease. Credits that are left of an earlier one for the same back-end stay good; others are returned.
  ///
  /// - Parameter time: nanoseconds for which it holds.
  public mutating func grant(
    target: UInt64, pool: PoolID, backEnd: UInt16, credits: UInt16, time: UInt64, term: UInt32, now: UInt64
  ) {
    granted += UInt64(credits)
    if credits == 0 { return }
    let index = place(target, pool, now: now)
    if !entries[index].isFree {
      let old = entries[index]
      let sum = UInt32(old.credits) + UInt32(old.used) + UInt32(old.returned) + UInt32(credits)
      let continues = old.target == target && old.pool == pool && old.backEnd == backEnd && old.term == term
      if !continues || sum > UInt32(UInt16.max) {
        retire(index, now: now)
        displace(index)
      }
    }
    if entries[index].credits == 0 { live += 1 }
    entries[index].target = target
    entries[index].pool = pool
    entries[index].backEnd = backEnd
    entries[index].term = term
    entries[index].credits += credits
    entries[index].expires = now &+ time
    sweepAt = min(sweepAt, max(now &+ time, lastSweep &+ LeaseTable.sweepInterval))
  }

  /// The entry of a target, or a free one, or the one that ends first.
  private mutating func place(_ target: UInt64, _ pool: PoolID, now: UInt64) -> Int {
    var free: Int?
    var first: Int?
    for index in ways(target, pool) {
      let entry = entries[index]
      if entry.isFree {
        free = free ?? index
      } else if entry.target == target, entry.pool == pool {
        return index
      } else if first == nil || entry.expires < entries[first!].expires {
        first = index
      }
    }
    if let free { return free }
    let victim = first ?? ways(target, pool).lowerBound
    if entries[victim].credits > 0, entries[victim].expires > now { evictions += 1 }
    return victim
  }

  /// The back-end refuses, is lost, or is no longer up: what is left for it is returned. Looks at the whole table.
  public mutating func drop(backEnd: UInt16, now: UInt64) {
    if live == 0 { return }
    for index in entries.indices where entries[index].credits > 0 && entries[index].backEnd == backEnd {
      retire(index, now: now)
    }
  }

  /// The membership changed: everything that is left is returned.
  public mutating func dropAll(now: UInt64) {
    if live == 0 { return }
    for index in entries.indices where entries[index].credits > 0 { retire(index, now: now) }
  }
}
