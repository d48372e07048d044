// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import Glibc
public import Wire

/// Walks a flow table in steps, for ageing and statistics.
///
/// An entry that is in the table during the whole walk is met exactly once; one that comes or goes meanwhile may be met.
/// Entries may be removed while walking.
public struct FlowSweep: ~Copyable {
  private var keys: [handoff_flow_key]
  private var values: [handoff_flow_entry]
  /// The kernel's place in the table: a bucket.
  private var position: UInt32 = 0
  /// True before the first step and after a step that reached the table's end: the next one begins anew.
  public private(set) var isAtStart = true

  /// - Parameter step: flows per step, at least 64. The kernel hands out whole buckets, so a step gives at most that many;
  ///   it looks at as many empty buckets as lie between (1,000,000 empty ones take 2 to 5 ms).
  public init(step: Int = 1024) {
    let step = max(64, step)
    keys = Array(repeating: handoff_flow_key(), count: step)
    values = Array(repeating: handoff_flow_entry(), count: step)
  }

  /// Gives the next flows to `body`.
  ///
  /// - Returns: how many there were; `isAtStart` tells whether the walk is over.
  @discardableResult
  public mutating func next(of table: FlowTable, _ body: (FlowTuple, FlowEntry) -> Void) -> Int {
    nextRaw(of: table) { key, value in body(key.flow, value.entry) }
  }

  @discardableResult
  mutating func nextRaw(of table: FlowTable, _ body: (handoff_flow_key, handoff_flow_entry) -> Void) -> Int {
    let count = Int(readBatch(table.map.raw))
    for index in 0..<count { body(keys[index], values[index]) }
    return count
  }

  private mutating func readBatch(_ map: Int32) -> UInt32 {
    while true {
      var count = UInt32(keys.count)
      var after: UInt32 = 0
      // SAFETY: both buffers have room for `count` elements of the sizes that loading has checked.
      let result = unsafe keys.withUnsafeMutableBytes { keys in
        unsafe values.withUnsafeMutableBytes { values in
          isAtStart
            ? unsafe bpf_map_lookup_batch(map, nil, &after, keys.baseAddress, values.baseAddress, &count, nil)
            : unsafe bpf_map_lookup_batch(map, &position, &after, keys.baseAddress, values.baseAddress, &count, nil)
        }
      }
      switch result {
      case 0:
        position = after
        isAtStart = false
        return count
      case -ENOSPC:
        // One bucket holds more than a step. Hash chains are short, so this ends at once.
        let grown = keys.count * 2
        keys = Array(repeating: handoff_flow_key(), count: grown)
        values = Array(repeating: handoff_flow_entry(), count: grown)
      case -EINTR: continue
      case -ENOENT:
        isAtStart = true
        return count
      default: preconditionFailure("walking the flow table failed with \(result)")
      }
    }
  }
}
