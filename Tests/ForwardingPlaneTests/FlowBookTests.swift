// SPDX-License-Identifier: Apache-2.0

import ForwardingPlane
import Handoff
import Testing
import Wire

struct FlowBookTests {
  private static let second: UInt64 = 1_000_000_000

  private func limits(capacity: Int = 100) -> FlowBook.Limits { FlowBook.Limits(capacity: capacity) }

  private func flow(_ number: Int) -> FlowTuple {
    FlowTuple(client: Endpoint(IPAddress(ipv4: 1), UInt16(number)), service: Endpoint(IPAddress(ipv4: 2), 80))
  }

  private func ids(_ book: inout FlowBook, now: UInt64, occupied: Int) -> [UInt64] {
    var occupied = occupied
    var result: [UInt64] = []
    while let removal = book.due(now: now, occupied: occupied) {
      result.append(removal.handoff.rawValue)
      occupied -= 1
    }
    return result
  }

  @Test func anEndedFlowLingersForAMinute() {
    var book = FlowBook(limits: limits())
    #expect(book.nextDeadline == nil)
    #expect(book.ended(HandoffID(1), flow(1), now: 5 * Self.second) == nil)
    #expect(book.nextDeadline == 65 * Self.second)
    #expect(book.due(now: 65 * Self.second - 1, occupied: 1) == nil)
    #expect(book.due(now: 65 * Self.second, occupied: 1) == .init(flow: flow(1), handoff: HandoffID(1)))
    #expect(book.due(now: .max, occupied: 0) == nil)
    #expect(book.counters == .init(ended: 1, removedInTime: 1, removedEarly: 0))
  }

  @Test func flowsLeaveInTheOrderInWhichTheyEnded() {
    var book = FlowBook(limits: limits(capacity: 1000))
    for number in 0..<300 { _ = book.ended(HandoffID(UInt64(number)), flow(number), now: UInt64(number) * Self.second) }
    #expect(ids(&book, now: 159 * Self.second, occupied: 0) == Array(0..<100))
    for number in 300..<500 { _ = book.ended(HandoffID(UInt64(number)), flow(number), now: 300 * Self.second) }
    #expect(ids(&book, now: .max, occupied: 0) == Array(100..<500))
    #expect(book.lingering == 0)
  }

  @Test func aCrowdedTableShortensTheLinger() {
    var book = FlowBook(limits: limits(capacity: 100))
    for number in 0..<20 { _ = book.ended(HandoffID(UInt64(number)), flow(number), now: 0) }
    #expect(ids(&book, now: 1, occupied: 75) == [])
    #expect(ids(&book, now: 1, occupied: 78) == [0, 1, 2], "down to three quarters, oldest first")
    #expect(ids(&book, now: 1, occupied: 100) == Array(3..<20), "no more than have ended")
    #expect(book.counters == .init(ended: 20, removedInTime: 0, removedEarly: 20))
  }

  @Test func aFullBookPushesOutTheOldest() {
    var book = FlowBook(limits: limits(capacity: 3))
    for number in 0..<3 { #expect(book.ended(HandoffID(UInt64(number)), flow(number), now: 0) == nil) }
    #expect(book.ended(HandoffID(3), flow(3), now: 0) == .init(flow: flow(0), handoff: HandoffID(0)))
    #expect(book.lingering == 3)
    #expect(ids(&book, now: .max, occupied: 0) == [1, 2, 3])
    #expect(book.counters == .init(ended: 4, removedInTime: 3, removedEarly: 1))
  }

  @Test(
    arguments: [
      ("just used", [], 0, FlowBook.Age.alive),
      ("an hour less a moment", [], 3600 * second - 1, .alive),
      ("an hour", [], 3600 * second, .idle),
      ("after FIN, two minutes less a moment", .fin, 120 * second - 1, .alive),
      ("after FIN, two minutes", .fin, 120 * second, .closed),
      ("after RST, two minutes", .rst, 120 * second, .closed),
      ("answered, an hour less a moment", .acknowledged, 3600 * second - 1, .alive),
      ("answered, an hour", .acknowledged, 3600 * second, .idle),
      ("after the reported end, two minutes", .ended, 120 * second, .closed),
      ("after FIN, a day", [.fin, .rst], 86_400 * second, .closed),
    ] as [(String, FlowEntry.Seen, UInt64, FlowBook.Age)])
  func ages(name: String, seen: FlowEntry.Seen, silence: UInt64, expected: FlowBook.Age) {
    let book = FlowBook(limits: limits())
    let entry = FlowEntry(
      action: .deliverLocally, clientISN: SequenceNumber(0), handoff: HandoffID(0), backEnd: 0, now: 1000, seen: seen)
    #expect(book.age(of: entry, now: 1000 + silence) == expected, "\(name)")
  }

  @Test func anEntryFromTheFutureIsAlive() {
    let entry = FlowEntry(
      action: .deliverLocally, clientISN: SequenceNumber(0), handoff: HandoffID(0), backEnd: 0, now: 1000, seen: .fin)
    #expect(FlowBook(limits: limits()).age(of: entry, now: 999) == .alive)
  }

  /// Against a plain array as the model.
  @Test(arguments: 1...8 as ClosedRange<UInt64>)
  func nothingIsLostOrSaidTwice(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let capacity = Int.random(in: 1...200, using: &random)
    var book = FlowBook(limits: limits(capacity: capacity))
    var model: [(id: UInt64, due: UInt64)] = []
    var now: UInt64 = 0
    var next: UInt64 = 0
    for round in 0..<2000 {
      now += UInt64.random(in: 0...Self.second, using: &random)
      if Int.random(in: 0..<3, using: &random) > 0 {
        let pushed = book.ended(HandoffID(next), flow(Int(next)), now: now)
        if model.count == capacity {
          #expect(pushed?.handoff.rawValue == model.removeFirst().id, "seed \(seed), round \(round)")
        } else {
          #expect(pushed == nil, "seed \(seed), round \(round)")
        }
        model.append((next, now + 60 * Self.second))
        next += 1
      } else {
        let occupied = Int.random(in: 0...capacity, using: &random)
        var left = occupied
        var expected: [UInt64] = []
        while let first = model.first, first.due <= now || left > capacity / 4 * 3 {
          expected.append(first.id)
          model.removeFirst()
          left -= 1
        }
        #expect(ids(&book, now: now, occupied: occupied) == expected, "seed \(seed), round \(round)")
      }
      let counters = book.counters
      #expect(counters.ended == counters.removedInTime + counters.removedEarly + UInt64(book.lingering))
      #expect(book.nextDeadline == model.first?.due, "seed \(seed), round \(round)")
    }
  }
}
