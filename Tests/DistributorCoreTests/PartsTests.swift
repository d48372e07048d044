// SPDX-License-Identifier: Apache-2.0

import HTTPHead
import Testing
import Wire

@testable import DistributorCore

/// The tables below the responder, each against a model that is too simple to be wrong.
@Suite struct PartsTests {
  @Test(arguments: [1, 2, 3, 4, 5] as [UInt64]) func assemblerAgreesWithASet(seed: UInt64) {
    var random = SplitMix(seed: seed)
    for round in 0..<300 {
      var assembler = ReceiveAssembler()
      var model: Set<Int> = []
      for step in 0..<60 {
        let start = random.below(60)
        let range = start..<start + random.below(9)
        let context = "seed \(seed) round \(round) step \(step) range \(range)"
        // The gaps are what the model misses.
        var missing: [Int] = []
        var cursor = range.lowerBound
        while let gap = assembler.gap(from: cursor, to: range.upperBound) {
          missing += Array(gap)
          cursor = gap.upperBound
        }
        #expect(missing == range.filter { !model.contains($0) }, "\(context)")
        let before = assembler.islandCount
        if assembler.insert(range) {
          model.formUnion(range)
        } else {
          #expect(before == ReceiveAssembler.maximumIslands, "\(context)")
        }
        var contiguous = 0
        while model.contains(contiguous) { contiguous += 1 }
        #expect(assembler.contiguous == contiguous, "\(context)")
        #expect(assembler.end == (model.max().map { $0 + 1 } ?? 0), "\(context)")
      }
    }
  }

  @Test(arguments: [1, 2, 3, 4] as [UInt64]) func wheelFiresInTimeAndOnce(seed: UInt64) {
    var random = SplitMix(seed: seed)
    let slots = 50
    let bucket: UInt64 = 1 << 22
    var now: UInt64 = random.next() % (1 << 50)
    var wheel = TimerWheel(slots: slots, now: now)
    var model: [Int: UInt64] = [:]
    for step in 0..<5_000 {
      let slot = random.below(slots)
      switch random.below(10) {
      case 0...5:
        // Up to 100 s: most of these are beyond the wheel's horizon.
        let deadline = now + random.next() % [1_000_000, 1_000_000_000, 100_000_000_000][random.below(3)]
        wheel.schedule(slot, at: deadline, now: now)
        model[slot] = deadline
      case 6:
        wheel.cancel(slot)
        model[slot] = nil
      default:
        now += random.next() % [1_000, 10_000_000, 5_000_000_000][random.below(3)]
        while let fired = wheel.popExpired(now: now) {
          let deadline = model.removeValue(forKey: fired)
          #expect(deadline.map { $0 <= now } == true, "seed \(seed) step \(step) slot \(fired)")
        }
        let late = model.filter { $0.value + bucket <= now }
        #expect(late.isEmpty, "seed \(seed) step \(step): \(late) have not fired at \(now)")
      }
      #expect(wheel.count == model.count, "seed \(seed) step \(step)")
      if let first = model.values.min() {
        let next = wheel.nextDeadline
        #expect(next.map { $0 <= max(first, now) + bucket } == true, "seed \(seed) step \(step)")
      } else {
        #expect(wheel.nextDeadline == nil)
      }
    }
  }

  private static func flow(_ port: Int) -> FlowTuple {
    FlowTuple(client: Endpoint(IPAddress(ipv4: 0x0a00_0001), UInt16(port)), service: Rig.service4)
  }

  private static func connection(_ flow: FlowTuple, hash: UInt64) -> Connection {
    Connection(
      flow: flow, hash: hash, clientInitial: .init(0), initialSequence: .init(0), receiveNext: .init(0), sendWindow: 0,
      windowField: 0, windowSequence: .init(0), maximumSegmentSize: 0, windowScale: nil, sackPermitted: false,
      clock: nil, scanner: .init(), held: HeldPackets(end: .init(0)))
  }

  @Test("Under collisions too", arguments: [UInt64.max, 0xff, 3]) func tableAgreesWithADictionary(mask: UInt64) {
    // A mask of few bits makes long chains, so that removal has to move entries.
    let key = KeyedHash(3, 4)
    var random = SplitMix(seed: mask)
    var table = ConnectionTable(capacity: 40)
    var model: [FlowTuple: Int] = [:]
    for step in 0..<8_000 {
      let flow = PartsTests.flow(random.below(80))
      let hash = key.hash(flow) & (mask | 0xffff_ffff_0000_0000)
      #expect(table.find(flow, hash: hash) == model[flow], "step \(step)")
      if let slot = model[flow] {
        table.remove(slot)
        model[flow] = nil
      } else if !table.isFull {
        model[flow] = table.insert(PartsTests.connection(flow, hash: hash))
      } else {
        #expect(model.count == 40)
      }
      #expect(table.count == model.count)
    }
    #expect(table.slots.count <= 40)
  }

  @Test func poolStaysWithinItsBoundAndComesBack() {
    var random = SplitMix(seed: 7)
    let limit = 300_000
    var pool = BufferPool(limit: limit)
    var held: [(handle: BufferPool.Handle, mark: UInt8, count: Int)] = []
    var refused = 0
    for step in 0..<4_000 {
      if random.chance(55) || held.isEmpty {
        var handle = BufferPool.Handle.none
        let count = 1 + random.below(BufferPool.largest)
        guard pool.grow(&handle, toHold: count, keeping: 0) else {
          refused += 1
          continue
        }
        let mark = UInt8(truncatingIfNeeded: step)
        pool.write([mark].span, to: handle, at: count - 1)
        held.append((handle, mark, count))
      } else {
        let index = random.below(held.count)
        var (handle, mark, count) = held.remove(at: index)
        #expect(pool.bytes(handle)[count - 1] == mark, "step \(step)")
        if random.chance(30), pool.grow(&handle, toHold: min(count * 2, BufferPool.largest), keeping: count) {
          #expect(pool.bytes(handle)[count - 1] == mark, "step \(step), after growing")
        }
        pool.release(&handle)
        #expect(handle.isNone)
      }
      #expect(pool.bytesInUse <= limit)
    }
    #expect(refused > 0, "the bound was never reached")
    for entry in held {
      var handle = entry.handle
      pool.release(&handle)
    }
    #expect(pool.bytesInUse == 0)
    var tooLarge = BufferPool.Handle.none
    #expect(pool.grow(&tooLarge, toHold: BufferPool.largest + 1, keeping: 0) == false)
  }

  static let dates: [(UInt64, String)] = [
    (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
    (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
    (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
    (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
    (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
    (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
    (1_767_225_600, "Thu, 01 Jan 2026 00:00:00 GMT"),
    (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
    (.max, "Fri, 31 Dec 9999 23:59:59 GMT"),
  ]

  @Test(arguments: dates) func date(_ seconds: UInt64, _ text: String) {
    var bytes: [UInt8] = []
    HTTPDate.append(seconds, to: &bytes)
    #expect(String(decoding: bytes, as: UTF8.self) == "Date: \(text)\r\n")
  }

  @Test func rateLimitHoldsOneSecondsWorth() {
    var limit = RateLimit(perSecond: 10)
    var now: UInt64 = 1 << 40
    func taken() -> Int { (0..<100).filter { _ in limit.allows(at: now) }.count }
    #expect(taken() == 10)
    now += 250_000_000
    #expect(taken() == 2)
    now += 60_000_000_000
    #expect(taken() == 10)
    var never = RateLimit(perSecond: 0)
    #expect(never.allows(at: now) == false)
  }

  @Test func addressesShareTheTimestampClockAndFlowsDoNotShareNumbers() throws {
    var generator = SplitMix(seed: 1)
    let keys = HandshakeKeys(now: 0, using: &generator)
    var other = SplitMix(seed: 2)
    let otherKeys = HandshakeKeys(now: 0, using: &other)
    let flow = PartsTests.flow(1)
    let offer = CookieOffer(maximumSegmentSize: 1460, windowScale: 7, sackPermitted: true)
    let one = try #require(
      SynCookie(keys: keys, flow: flow, clientInitial: .init(5)).make(offer, now: 0))
    #expect(SynCookie(keys: otherKeys, flow: flow, clientInitial: .init(5)).validate(one, now: 0) == nil)
    #expect(SynCookie(keys: keys, flow: flow, clientInitial: .init(5)).validate(one, now: 0) == offer)
  }
}
