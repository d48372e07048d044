// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Testing

struct CoalescedEpollTests {
  static let interval: UInt64 = 1_000
  static let token: UInt64 = 9

  /// A loop with one coalesced event source.
  struct Loop: ~Copyable {
    var epoll: Epoll
    var events: CoalescedEpoll
    let source: WakeUp

    init(capacity: Int = 256) throws {
      let epoll = try Epoll()
      let events = try CoalescedEpoll(in: epoll, token: token, interval: interval, capacity: capacity)
      let source = try WakeUp()
      try events.members.add(source.raw, .read, token: 5)
      self.epoll = epoll
      self.events = events
      self.source = source
    }

    /// One turn at a time of its own. Returns whether the loop was woken, and how many events it saw.
    mutating func turn(_ now: UInt64, isUrgent: Bool = false) -> (woken: Bool, seen: Int) {
      let woken = epoll.wait(until: 0) == 1 && epoll.ready(0).token == token
      let seen = events.look(isTold: woken)
      for index in 0..<seen {
        #expect(events.ready(index).token == 5)
        source.clear()
      }
      events.arrange(in: epoll, now: now, isUrgent: isUrgent)
      return (woken, seen)
    }

    mutating func event(_ now: UInt64, isUrgent: Bool = false) -> (woken: Bool, seen: Int) {
      source.signal()
      return turn(now, isUrgent: isUrgent)
    }
  }

  @Test func eventsThatComeOftenAreLookedForAtTicks() throws {
    var loop = try Loop()
    #expect(loop.event(100_500) == (true, 1))
    #expect(loop.events.lookAt == .max, "the first after a pause")
    #expect(loop.event(101_200) == (true, 1))
    #expect(loop.events.lookAt == 102_000, "the second soon after it")
    #expect(loop.event(101_500) == (false, 1), "awake for another reason: seen, though nobody was woken")
    #expect(loop.turn(102_000) == (false, 0))
    #expect(loop.events.lookAt == 103_000)
    #expect(loop.event(103_000) == (false, 1))
  }

  @Test func afterAPauseAnEventWakesTheLoop() throws {
    var loop = try Loop()
    _ = loop.event(100_500)
    _ = loop.event(100_600)
    var now = loop.events.lookAt
    while loop.events.lookAt != .max {
      #expect(loop.turn(now) == (false, 0))
      now += Self.interval
      try #require(now < 120_000)
    }
    #expect(now >= 100_600 + 5 * Self.interval)
    #expect(loop.event(now) == (true, 1))
  }

  @Test func whileSomebodyWaitsEventsWakeTheLoop() throws {
    var loop = try Loop()
    _ = loop.event(100_500)
    _ = loop.event(100_600)
    #expect(loop.events.lookAt == 101_000)
    _ = loop.turn(100_700, isUrgent: true)
    #expect(loop.events.lookAt == .max)
    #expect(loop.event(100_800, isUrgent: true) == (true, 1))
    #expect(loop.event(100_900, isUrgent: true) == (true, 1))
    #expect(loop.event(100_950) == (true, 1))
    #expect(loop.events.lookAt == 101_000, "nobody waits any more")
  }

  @Test func moreEventsThanOneLookTakesWakeTheLoop() throws {
    var loop = try Loop(capacity: 1)
    _ = loop.event(100_500)
    _ = loop.event(100_600)
    #expect(loop.events.lookAt == .max)
  }

  @Test func ticksAreMultiples() {
    #expect(MonotonicTime.tick(after: 0, every: 20) == 20)
    #expect(MonotonicTime.tick(after: 19, every: 20) == 20)
    #expect(MonotonicTime.tick(after: 20, every: 20) == 40)
  }
}
