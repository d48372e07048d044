// SPDX-License-Identifier: Apache-2.0

internal import Wire

/// The connections of one worker: slots that keep their index, and an index of open addressing over them. The hash is
/// keyed, since clients choose their tuples.
struct ConnectionTable {
  /// Vacant slots hold the generation that their last connection left.
  var slots: [Connection] = []
  private var vacantSlots: [UInt32] = []
  /// 0 is empty, else the upper half of the hash above slot number + 1. Linear probing; at most half full.
  private var index: [UInt64]
  private let mask: Int
  private let capacity: Int
  private(set) var count = 0

  init(capacity: Int) {
    self.capacity = capacity
    var size = 16
    while size < capacity * 2 { size *= 2 }
    index = Array(repeating: 0, count: size)
    mask = size - 1
  }

  var isFull: Bool { count >= capacity }

  func find(_ flow: FlowTuple, hash: UInt64) -> Int? {
    var position = Int(truncatingIfNeeded: hash) & mask
    while index[position] != 0 {
      let entry = index[position]
      if entry >> 32 == hash >> 32 {
        let slot = Int(UInt32(truncatingIfNeeded: entry)) - 1
        if slots[slot].flow == flow { return slot }
      }
      position = (position + 1) & mask
    }
    return nil
  }

  /// The flow of `connection` is not in the table, and the table is not full.
  mutating func insert(_ connection: Connection) -> Int {
    let slot: Int
    if let vacant = vacantSlots.popLast() {
      slot = Int(vacant)
      let generation = slots[slot].generation
      slots[slot] = connection
      slots[slot].generation = generation
    } else {
      slot = slots.count
      slots.append(connection)
    }
    var position = Int(truncatingIfNeeded: connection.hash) & mask
    while index[position] != 0 { position = (position + 1) & mask }
    index[position] = entry(connection.hash, slot)
    count += 1
    return slot
  }

  mutating func remove(_ slot: Int) {
    let hash = slots[slot].hash
    let wanted = entry(hash, slot)
    var hole = Int(truncatingIfNeeded: hash) & mask
    while index[hole] != wanted {
      precondition(index[hole] != 0, "a slot is removed that is not in the index")
      hole = (hole + 1) & mask
    }
    // Backward shift: what follows moves up unless its own place lies behind the hole. No tombstones, so lookups stay
    // short however long the table lives.
    var position = (hole + 1) & mask
    while index[position] != 0 {
      let home = Int(truncatingIfNeeded: slots[Int(UInt32(truncatingIfNeeded: index[position])) - 1].hash) & mask
      if (position &- home) & mask >= (position &- hole) & mask {
        index[hole] = index[position]
        hole = position
      }
      position = (position + 1) & mask
    }
    index[hole] = 0
    slots[slot].phase = .vacant
    slots[slot].generation &+= 1
    vacantSlots.append(UInt32(slot))
    count -= 1
  }

  private func entry(_ hash: UInt64, _ slot: Int) -> UInt64 { hash & 0xffff_ffff_0000_0000 | UInt64(slot + 1) }
}
