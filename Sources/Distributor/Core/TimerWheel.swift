// SPDX-License-Identifier: Apache-2.0

/// One timer per connection slot, in a wheel of 4,096 buckets of 4.2 ms: starting, moving and stopping a timer take
/// constant time and no memory. A timer fires at most one bucket late. Times beyond the 17 s of the wheel wait in its last
/// bucket and are put back from there.
struct TimerWheel {
  private static let shift: UInt64 = 22
  private static let buckets = 4096
  private static let none: UInt32 = .max

  /// Per bucket: the first slot of a doubly linked list.
  private var heads: [UInt32]
  /// One bit per bucket that has a slot.
  private var occupied: [UInt64]
  private var next: [UInt32]
  private var previous: [UInt32]
  private var bucketOf: [UInt32]
  private var deadlines: [UInt64]
  /// The bucket number (not wrapped) up to which timers have fired.
  private var current: UInt64
  private(set) var count = 0

  init(slots: Int, now: UInt64) {
    heads = Array(repeating: TimerWheel.none, count: TimerWheel.buckets)
    occupied = Array(repeating: 0, count: TimerWheel.buckets / 64)
    next = Array(repeating: TimerWheel.none, count: slots)
    previous = Array(repeating: TimerWheel.none, count: slots)
    bucketOf = Array(repeating: TimerWheel.none, count: slots)
    deadlines = Array(repeating: 0, count: slots)
    current = now >> TimerWheel.shift
  }

  /// Starts the timer of `slot`, or moves it.
  mutating func schedule(_ slot: Int, at deadline: UInt64, now: UInt64) {
    if bucketOf[slot] != TimerWheel.none { unlink(slot) }
    if count == 0 { current = max(current, now >> TimerWheel.shift) }
    deadlines[slot] = deadline
    link(slot)
  }

  mutating func cancel(_ slot: Int) {
    if bucketOf[slot] != TimerWheel.none { unlink(slot) }
  }

  /// When `popExpired` is to be called next; at most one bucket later than the first deadline.
  var nextDeadline: UInt64? { firstOccupied().map { $0 << TimerWheel.shift } }

  /// Stops and returns a timer that is due, nil when none is.
  mutating func popExpired(now: UInt64) -> Int? {
    let target = now >> TimerWheel.shift
    while let bucket = firstOccupied(), bucket <= target {
      current = bucket
      let slot = Int(heads[Int(bucket) & (TimerWheel.buckets - 1)])
      unlink(slot)
      if deadlines[slot] <= now { return slot }
      link(slot)
    }
    current = max(current, target)
    return nil
  }

  private mutating func link(_ slot: Int) {
    // Rounded up: a timer never fires early.
    let wanted = deadlines[slot] >> TimerWheel.shift &+ 1
    let bucket = Int(min(max(wanted, current), current + UInt64(TimerWheel.buckets - 1))) & (TimerWheel.buckets - 1)
    let head = heads[bucket]
    next[slot] = head
    previous[slot] = TimerWheel.none
    if head != TimerWheel.none { previous[Int(head)] = UInt32(slot) }
    heads[bucket] = UInt32(slot)
    bucketOf[slot] = UInt32(bucket)
    occupied[bucket / 64] |= 1 << UInt64(bucket % 64)
    count += 1
  }

  private mutating func unlink(_ slot: Int) {
    let bucket = Int(bucketOf[slot])
    let after = next[slot]
    let before = previous[slot]
    if after != TimerWheel.none { previous[Int(after)] = before }
    if before != TimerWheel.none {
      next[Int(before)] = after
    } else {
      heads[bucket] = after
      if after == TimerWheel.none { occupied[bucket / 64] &= ~(1 << UInt64(bucket % 64)) }
    }
    bucketOf[slot] = TimerWheel.none
    count -= 1
  }

  /// The first bucket from `current` on that has a slot, not wrapped.
  private func firstOccupied() -> UInt64? {
    guard count > 0 else { return nil }
    let start = Int(current) & (TimerWheel.buckets - 1)
    var word = start / 64
    var bits = occupied[word] & (~0 << UInt64(start % 64))
    // One more turn than there are words: the first word is looked at in two parts.
    for _ in 0...occupied.count {
      if bits != 0 {
        let bucket = word * 64 + bits.trailingZeroBitCount
        return current + UInt64((bucket - start) & (TimerWheel.buckets - 1))
      }
      word = (word + 1) % occupied.count
      bits = occupied[word]
    }
    return nil
  }
}
