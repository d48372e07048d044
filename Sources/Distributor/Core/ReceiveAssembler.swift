// SPDX-License-Identifier: Apache-2.0

/// Which bytes of a receive buffer are there. Offsets count from the first byte after the client's SYN.
///
/// What came first wins: `gap` names only what is missing, so a retransmission with other content changes nothing.
struct ReceiveAssembler: BitwiseCopyable {
  private struct Interval: BitwiseCopyable {
    var start: UInt32
    var end: UInt32
  }

  /// Islands beyond the contiguous part; a sender with more holes than this retransmits a little more.
  static let maximumIslands = 4

  /// Bytes from the start without a hole: rcv.nxt minus the offset's origin.
  private(set) var contiguous: Int = 0
  private var islands = InlineArray<4, Interval>(repeating: Interval(start: 0, end: 0))
  private(set) var islandCount = 0

  /// The end of the last byte that is there.
  var end: Int { islandCount == 0 ? contiguous : Int(islands[islandCount - 1].end) }

  /// The first missing part of `from..<to`.
  func gap(from: Int, to: Int) -> Range<Int>? {
    var cursor = max(from, contiguous)
    for index in 0..<islandCount {
      if Int(islands[index].end) <= cursor { continue }
      if Int(islands[index].start) > cursor { break }
      cursor = Int(islands[index].end)
    }
    guard cursor < to else { return nil }
    for index in 0..<islandCount where Int(islands[index].start) > cursor {
      return cursor..<min(to, Int(islands[index].start))
    }
    return cursor..<to
  }

  /// Marks a range as there. False, and nothing changes, when it would be one island too many.
  mutating func insert(_ range: Range<Int>) -> Bool {
    guard !range.isEmpty else { return true }
    var merged = Interval(start: UInt32(range.lowerBound), end: UInt32(range.upperBound))
    var kept = InlineArray<4, Interval>(repeating: Interval(start: 0, end: 0))
    var keptCount = 0
    var position = 0
    for index in 0..<islandCount {
      let island = islands[index]
      if island.end < merged.start {
        kept[keptCount] = island
        keptCount += 1
        position = keptCount
      } else if island.start > merged.end {
        kept[keptCount] = island
        keptCount += 1
      } else {
        merged.start = min(merged.start, island.start)
        merged.end = max(merged.end, island.end)
      }
    }
    if Int(merged.start) <= contiguous {
      contiguous = max(contiguous, Int(merged.end))
      islands = kept
      islandCount = keptCount
      return true
    }
    guard keptCount < ReceiveAssembler.maximumIslands else { return false }
    var index = keptCount
    while index > position {
      kept[index] = kept[index - 1]
      index -= 1
    }
    kept[position] = merged
    islands = kept
    islandCount = keptCount + 1
    return true
  }
}
