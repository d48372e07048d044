// SPDX-License-Identifier: Apache-2.0

/// A file cache with Greedy-Dual-Size replacement (Cao, Irani 1997) at equal cost per miss: small files stay longer.
struct GreedyDualSizeCache {
  private struct Entry {
    var priority: Double
    var target: Int32
    /// Tells the present entry of a target from those that a later use made void.
    var stamp: Int32
  }

  let capacity: Int
  private(set) var used = 0
  private var inflation = 0.0
  private var heap = Heap<Entry> { ($0.priority, $0.target) < ($1.priority, $1.target) }
  private var present: [Int32: (stamp: Int32, size: Int)] = [:]
  private var nextStamp: Int32 = 0

  init(capacity: Int) { self.capacity = capacity }

  func contains(_ target: Int32) -> Bool { present[target] != nil }

  /// The target that leaves next, with its priority; nil when the cache is empty.
  var victim: (target: Int32, priority: Double)? {
    mutating get {
      while let entry = heap.first {
        if present[entry.target]?.stamp == entry.stamp { return (entry.target, entry.priority) }
        _ = heap.pop()
      }
      return nil
    }
  }

  /// A hit: the target's priority rises.
  mutating func use(_ target: Int32) {
    guard let size = present[target]?.size else { return }
    enter(target, size)
  }

  /// A miss was read: it comes in, and others go until it fits. Returns those that went.
  @discardableResult
  mutating func insert(_ target: Int32, size: Int) -> [Int32] {
    guard size <= capacity, present[target] == nil else { return [] }
    var gone: [Int32] = []
    while used + size > capacity, let next = victim {
      inflation = next.priority
      used -= present.removeValue(forKey: next.target)?.size ?? 0
      _ = heap.pop()
      gone.append(next.target)
    }
    used += size
    enter(target, size)
    return gone
  }

  private mutating func enter(_ target: Int32, _ size: Int) {
    nextStamp &+= 1
    present[target] = (nextStamp, size)
    heap.push(Entry(priority: inflation + 1 / Double(max(1, size)), target: target, stamp: nextStamp))
  }
}
