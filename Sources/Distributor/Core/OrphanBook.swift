// SPDX-License-Identifier: Apache-2.0

/// Flows of which a segment came that belongs to nothing we know.
///
/// Where the kernel answers handshakes, nothing is known of a connection until its first segment arrives; if that was
/// lost or overtaken, a later one is no reason for a reset. Its sender repeats what is missing within a second or so. Only
/// who still sends what belongs to nothing after that is told so.
///
/// Of fixed size: flows that share a place forget each other, and a reset comes later than it could.
struct OrphanBook {
  private struct Place: BitwiseCopyable {
    var mark: UInt32 = 0
    /// Milliseconds.
    var since: UInt32 = 0
  }

  private static let count = 4096
  /// Milliseconds for which a flow is spared: as long as a first retransmission may take (RFC 6298 section 2.1).
  private static let patience: UInt32 = 1_000
  /// Milliseconds after which a flow is forgotten.
  private static let memory: UInt32 = 60_000

  private var places = Array(repeating: Place(), count: OrphanBook.count)

  /// Whether the flow of this hash has been an orphan for long enough.
  mutating func isOverdue(_ hash: UInt64, now: UInt64) -> Bool {
    let index = Int(truncatingIfNeeded: hash) & (OrphanBook.count - 1)
    let mark = UInt32(truncatingIfNeeded: hash >> 32)
    let time = UInt32(truncatingIfNeeded: now / 1_000_000)
    let waited = time &- places[index].since
    guard places[index].mark == mark, waited < OrphanBook.memory else {
      places[index] = Place(mark: mark, since: time)
      return false
    }
    return waited >= OrphanBook.patience
  }
}
