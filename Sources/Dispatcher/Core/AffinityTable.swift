// SPDX-License-Identifier: Apache-2.0

/// Which back-end a client or session sticks to, for at most `capacity` of them.
///
/// Sets of eight entries of 16 bytes: a look-up touches two cache lines, nothing is ever moved, and a full set gives up the
/// entry that would end first, which with one lifetime is the least recently used. Keys are keyed hashes, so that nobody
/// can fill a chosen set.
public struct AffinityTable: Sendable {
  private struct Entry: Sendable, BitwiseCopyable {
    var key: UInt64
    /// `TargetTable.Tick` from which on it no longer counts.
    var ends: UInt32
    var backEnd: UInt16
    var isUsed: Bool
  }

  private static let ways = 8
  /// Ticks of 2^24 ns wrap after 2.2 years: what is further away lies in the past.
  private static let longest: UInt32 = 1 << 30

  /// Entries, a power of two.
  public let capacity: Int
  /// Entries in use, of which some may be over.
  public private(set) var count = 0
  /// Entries given up for others before their time.
  public private(set) var evictions: UInt64 = 0
  /// Empty until the first entry comes.
  private var entries: [Entry] = []

  /// - Parameter capacity: rounded up to a power of two of at least 8; 16 bytes each.
  public init(capacity: Int) {
    var rounded = AffinityTable.ways
    while rounded < min(capacity, 1 << 28) { rounded *= 2 }
    self.capacity = rounded
  }

  public var storageBytes: Int { entries.capacity * MemoryLayout<Entry>.stride }

  private func firstWay(_ key: UInt64) -> Int {
    let sets = UInt64(capacity / AffinityTable.ways)
    return Int(truncatingIfNeeded: key.multipliedFullWidth(by: sets).high) * AffinityTable.ways
  }

  private static func isOver(_ entry: Entry, _ tick: UInt32) -> Bool { entry.ends &- tick &- 1 >= longest }

  /// The back-end of `key` at `tick`; nil when there is none or its time is over.
  func find(_ key: UInt64, tick: UInt32) -> Int? {
    if entries.isEmpty { return nil }
    let first = firstWay(key)
    for index in first..<first + AffinityTable.ways where entries[index].isUsed && entries[index].key == key {
      return AffinityTable.isOver(entries[index], tick) ? nil : Int(entries[index].backEnd)
    }
    return nil
  }

  /// Ties `key` to a back-end from now on.
  ///
  /// - Parameter lifetime: in ticks.
  mutating func set(_ key: UInt64, _ backEnd: Int, tick: UInt32, lifetime: UInt32) {
    if entries.isEmpty {
      entries = Array(repeating: Entry(key: 0, ends: 0, backEnd: 0, isUsed: false), count: capacity)
    }
    let first = firstWay(key)
    var place = first
    var least = UInt32.max
    for index in first..<first + AffinityTable.ways {
      let entry = entries[index]
      if entry.isUsed, entry.key == key {
        place = index
        break
      }
      let left = !entry.isUsed || AffinityTable.isOver(entry, tick) ? 0 : entry.ends &- tick
      if left < least {
        least = left
        place = index
      }
    }
    let old = entries[place]
    if !old.isUsed { count += 1 } else if old.key != key, !AffinityTable.isOver(old, tick) { evictions &+= 1 }
    let ends = tick &+ min(max(1, lifetime), AffinityTable.longest)
    entries[place] = Entry(key: key, ends: ends, backEnd: UInt16(truncatingIfNeeded: backEnd), isUsed: true)
  }

  /// The number now belongs to another node: nobody sticks to it any more.
  mutating func forget(_ backEnd: Int) {
    for index in entries.indices where entries[index].isUsed && Int(entries[index].backEnd) == backEnd {
      entries[index].isUsed = false
      count -= 1
    }
  }
}
