// SPDX-License-Identifier: Apache-2.0

/// Descriptors whose events can wait a little, as a part of a loop's `Epoll`: while they keep coming, the loop looks for them
/// once in an interval instead of being woken by each, as network interfaces coalesce interrupts. A single event after a
/// pause wakes the loop at once. It looks at multiples of the interval (`MonotonicTime.tick`), so that all that a loop does
/// by and by is done at once.
///
/// In each turn of the loop: wait at most until `lookAt`, `look`, handle what is ready, `arrange`.
public struct CoalescedEpoll: ~Copyable {
  /// Register descriptors here.
  public private(set) var members: Epoll
  /// When to look although nobody woke the loop, in nanoseconds of `MonotonicTime`; `.max` while events wake it.
  public private(set) var lookAt = UInt64.max

  /// Intervals without an event after which the next one wakes the loop.
  private static let patience: UInt64 = 5

  private let token: UInt64
  private let interval: UInt64
  private let capacity: Int
  private var found = 0
  /// When an event was last seen.
  private var lastFound: UInt64 = 0

  /// - Parameters:
  ///   - loop: the instance that the loop waits on.
  ///   - token: what `loop` gives when an event is there.
  ///   - interval: the longest wait of an event, in nanoseconds.
  ///   - capacity: events taken per `look`.
  public init(
    in loop: borrowing Epoll, token: UInt64, interval: UInt64, capacity: Int = 256
  ) throws(SystemError) {
    let members = try Epoll(capacity: capacity)
    try loop.add(members.raw, .read, token: token)
    self.members = members
    self.token = token
    self.interval = interval
    self.capacity = capacity
  }

  /// How many are ready; read them with `ready(_:)`. Asks the kernel only when something can be there that nobody told of.
  ///
  /// - Parameter isTold: the loop was given `token` in this turn.
  public mutating func look(isTold: Bool) -> Int {
    found = isTold || isQuiet ? members.wait(until: 0) : 0
    return found
  }

  /// Event `index` of the last `look`.
  public func ready(_ index: Int) -> Epoll.Ready { members.ready(index) }

  /// Decides, at the end of a turn, whether events wake the loop from now on.
  ///
  /// - Parameter isUrgent: somebody waits for the next event.
  public mutating func arrange(in loop: borrowing Epoll, now: UInt64, isUrgent: Bool) {
    let isFrequent = now &- lastFound <= CoalescedEpoll.patience &* interval
    if found > 0 { lastFound = now }
    if isUrgent || found == capacity || !isFrequent {
      wake(loop)
    } else if found > 0 {
      if !isQuiet, (try? loop.modify(members.raw, [], token: token)) == nil { return }
      lookAt = MonotonicTime.tick(after: now, every: interval)
    } else if now >= lookAt {
      lookAt = MonotonicTime.tick(after: now, every: interval)
    }
  }

  private var isQuiet: Bool { lookAt != .max }

  /// Events wake the loop again. Should the kernel refuse, looking goes on.
  private mutating func wake(_ loop: borrowing Epoll) {
    guard isQuiet, (try? loop.modify(members.raw, .read, token: token)) != nil else { return }
    lookAt = .max
  }
}
