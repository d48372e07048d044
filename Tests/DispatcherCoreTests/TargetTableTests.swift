// SPDX-License-Identifier: Apache-2.0

import DispatcherCore
import Testing

@testable import DispatcherCore

@Suite("Target table")
struct TargetTableTests {
  @Test("agrees with a dictionary while it is not full")
  func likeDictionary() {
    var generator = SeededGenerator(seed: 21)
    var table = TargetTable(capacity: 3000)
    var model: [UInt64: TargetTable.Mapping] = [:]
    for round in 0..<30_000 {
      let key = SeededGenerator.mix(UInt64(generator.pick(3000)))
      let mapping = TargetTable.Mapping(replicas: BackEndSet(bits: generator.next() | 1), changed: UInt32(round))
      #expect(table[key] == model[key])
      let slot = table.find(key)
      if slot.isFound { table.update(slot, mapping) } else { table.insert(key, at: slot, mapping) }
      model[key] = mapping
    }
    #expect(table.count == model.count && table.evictions == 0)
  }

  @Test("keeps its bound, what it finds is what was put, and targets in use stay")
  func eviction() {
    var generator = SeededGenerator(seed: 22)
    let capacity = 1000
    var table = TargetTable(capacity: capacity)
    var model: [UInt64: UInt32] = [:]
    let hot = (0..<50).map { SeededGenerator.mix(1_000_000 + UInt64($0)) }
    var hotMisses = 0
    for round in 0..<200_000 {
      let key = round % 4 == 0 ? hot[generator.pick(hot.count)] : SeededGenerator.mix(generator.next())
      let slot = table.find(key)
      if slot.isFound {
        #expect(table.mapping(at: slot).changed == model[key])
        table.touch(slot)
      } else {
        if round > 10_000, round % 4 == 0 { hotMisses += 1 }
        table.insert(key, at: slot, TargetTable.Mapping(replicas: .index(1), changed: UInt32(round)))
        model[key] = UInt32(round)
      }
      #expect(table.count <= capacity)
    }
    #expect(hotMisses < 50, "\(hotMisses) of about 47,000 uses of hot targets missed")
    var counted = 0
    table.forEach { key, mapping in
      counted += 1
      #expect(mapping.changed == model[key] && table[key] == mapping)
    }
    #expect(counted == table.count)
  }

  @Test("colliding keys: whole chains wrap around the end and are found after removals")
  func collisions() {
    var table = TargetTable(capacity: 8)
    for round in 0..<2000 {
      // All keys have their home in the last slots.
      let key = UInt64.max - UInt64(round % 40)
      let slot = table.find(key)
      if slot.isFound {
        table.touch(slot)
      } else {
        table.insert(key, at: slot, TargetTable.Mapping(replicas: .index(3), changed: 0))
      }
      #expect(table[key] != nil && table.count <= 8)
      var reachable = 0
      table.forEach { key, _ in if table[key] != nil { reachable += 1 } }
      #expect(reachable == table.count)
    }
  }

  @Test("at most 48 bytes per target")
  func size() {
    #expect(MemoryLayout<TargetTable.Entry>.stride == 24)
    for capacity in [1000, 65_537, 1_000_000] {
      #expect(Double(TargetTable(capacity: capacity).storageBytes) / Double(capacity) <= 33)
    }
  }

  @Test("most used targets")
  func mostUsed() {
    var table = TargetTable(capacity: 100)
    for key in 1...50 as ClosedRange<UInt64> {
      let slot = table.find(SeededGenerator.mix(key))
      table.insert(SeededGenerator.mix(key), at: slot, TargetTable.Mapping(replicas: .index(0), changed: 0))
      for _ in 0..<key { table.touch(table.find(SeededGenerator.mix(key))) }
    }
    #expect(table.mostUsed(3).map(\.key) == [50, 49, 48].map { SeededGenerator.mix($0) })
    #expect(table.mostUsed(0).isEmpty && table.mostUsed(500).count == 50)
  }
}
