// SPDX-License-Identifier: Apache-2.0

/// The nodes that a target is mapped to, for at most `capacity` targets.
///
/// Open addressing with linear probing over entries of 24 bytes at a load of at most 3/4: 32 bytes per target, one or two
/// cache lines per decision, no allocation after `init`. A full table gives up entries in the order of a clock whose hand
/// halves a use count (an approximation of LRU that writes to nothing but the entry in use); losing an entry costs one
/// reassignment. The hand looks at a bounded number of entries, so that no decision waits for a whole turn.
public struct TargetTable: Sendable {
  /// What is known of a target.
  public struct Mapping: Hashable, Sendable, BitwiseCopyable {
    /// Never empty.
    public var replicas: BackEndSet
    /// `Tick` of the last change of `replicas`.
    public var changed: UInt32

    public init(replicas: BackEndSet, changed: UInt32) {
      self.replicas = replicas
      self.changed = changed
    }
  }

  /// One slot; free when its set is empty.
  struct Entry: Sendable, BitwiseCopyable {
    var key: UInt64
    var replicas: UInt64
    var changed: UInt32
    /// Decisions since the hand passed, halved by it each time.
    var uses: UInt32
  }

  /// Time in units of 2^24 ns (about 17 ms): 32 bits are good for two years between uses of one target.
  public enum Tick {
    @inlinable
    public static func at(_ now: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: now >> 24) }
    /// Ticks in `nanoseconds`, rounded up.
    @inlinable
    public static func duration(_ nanoseconds: UInt64) -> UInt32 {
      UInt32(clamping: (nanoseconds + (1 << 24) - 1) >> 24)
    }
  }

  public let capacity: Int
  public private(set) var count = 0
  /// Targets given up for others.
  public private(set) var evictions: UInt64 = 0
  private var entries: [Entry]
  private var hand = 0

  /// Entries that the hand looks at for one eviction.
  private static let handSteps = 32

  /// - Parameter capacity: targets, 1 to 2^31.
  public init(capacity: Int) {
    precondition((1...1 << 31).contains(capacity), "a table of 1 to 2^31 targets")
    self.capacity = capacity
    entries = Array(repeating: Entry(key: 0, replicas: 0, changed: 0, uses: 0), count: capacity + capacity / 3 + 2)
  }

  /// Bytes of the table, whether used or not.
  public var storageBytes: Int { entries.capacity * MemoryLayout<Entry>.stride }

  /// Where the entry of `key` is, or the free slot where its probe ends.
  @usableFromInline
  struct Slot: BitwiseCopyable {
    @usableFromInline var index: Int
    @usableFromInline var isFound: Bool
  }

  @inline(__always)
  private func home(_ key: UInt64) -> Int {
    // The keyed hash is uniform, so its high bits scale to the table's size without division.
    Int(truncatingIfNeeded: key.multipliedFullWidth(by: UInt64(truncatingIfNeeded: entries.count)).high)
  }

  @inline(__always)
  func find(_ key: UInt64) -> Slot {
    var index = home(key)
    while entries[index].replicas != 0 {
      if entries[index].key == key { return Slot(index: index, isFound: true) }
      index += 1
      if index == entries.count { index = 0 }
    }
    return Slot(index: index, isFound: false)
  }

  @inline(__always)
  func mapping(at slot: Slot) -> Mapping {
    let entry = entries[slot.index]
    return Mapping(replicas: BackEndSet(bits: entry.replicas), changed: entry.changed)
  }

  public subscript(key: UInt64) -> Mapping? {
    let slot = find(key)
    return slot.isFound ? mapping(at: slot) : nil
  }

  /// Counts uses of a found slot.
  @inline(__always)
  mutating func touch(_ slot: Slot, times: UInt32 = 1) { entries[slot.index].uses &+= times }

  /// Changes a found slot.
  ///
  /// - Precondition: the set is not empty.
  mutating func update(_ slot: Slot, _ mapping: Mapping) {
    precondition(slot.isFound && !mapping.replicas.isEmpty, "a target is mapped to at least one node")
    entries[slot.index].replicas = mapping.replicas.bits
    entries[slot.index].changed = mapping.changed
  }

  /// Adds `key`, which `find` did not find, giving up another target when the table is full.
  mutating func insert(_ key: UInt64, at slot: Slot, _ mapping: Mapping) {
    precondition(!slot.isFound && !mapping.replicas.isEmpty, "a target is mapped to at least one node")
    var index = slot.index
    if count == capacity {
      evict()
      index = find(key).index
    }
    entries[index] = Entry(key: key, replicas: mapping.replicas.bits, changed: mapping.changed, uses: 1)
    count += 1
  }

  private mutating func evict() {
    var victim = -1
    var fewest = UInt32.max
    var seen = 0
    while seen < TargetTable.handSteps {
      hand += 1
      if hand >= entries.count { hand = 0 }
      guard entries[hand].replicas != 0 else { continue }
      seen += 1
      let uses = entries[hand].uses
      if uses < fewest {
        fewest = uses
        victim = hand
      }
      if uses == 0 { break }
      entries[hand].uses = uses / 2
    }
    remove(at: victim)
    evictions += 1
  }

  /// Frees a slot and moves later entries of the probe chain back, so that no tombstones are needed.
  private mutating func remove(at index: Int) {
    var gap = index
    var next = gap
    while true {
      next += 1
      if next == entries.count { next = 0 }
      guard entries[next].replicas != 0 else { break }
      let ideal = home(entries[next].key)
      // The entry may move back to the gap unless its home lies behind the gap (cyclically in (gap, next]).
      let staysReachable = gap <= next ? (gap < ideal && ideal <= next) : (gap < ideal || ideal <= next)
      if !staysReachable {
        entries[gap] = entries[next]
        gap = next
      }
    }
    entries[gap].replicas = 0
    count -= 1
  }

  /// The most used targets since the hand passed them, most used first. Looks at the whole table.
  public func mostUsed(_ limit: Int) -> [(key: UInt64, uses: UInt32, mapping: Mapping)] {
    var best: [(key: UInt64, uses: UInt32, mapping: Mapping)] = []
    guard limit > 0 else { return best }
    for entry in entries where entry.replicas != 0 {
      if best.count == limit, entry.uses <= best[limit - 1].uses { continue }
      let position = best.firstIndex { $0.uses < entry.uses } ?? best.count
      let mapping = Mapping(replicas: BackEndSet(bits: entry.replicas), changed: entry.changed)
      best.insert((entry.key, entry.uses, mapping), at: position)
      if best.count > limit { best.removeLast() }
    }
    return best
  }

  /// Every mapping; for checks and dumps.
  public func forEach(_ body: (UInt64, Mapping) -> Void) {
    for entry in entries where entry.replicas != 0 {
      body(entry.key, Mapping(replicas: BackEndSet(bits: entry.replicas), changed: entry.changed))
    }
  }
}
