// SPDX-License-Identifier: Apache-2.0

internal import ControlProtocol

/// Names one control connection of the dispatcher; chosen by the driver and not used again.
public struct PeerID: Hashable, Sendable, BitwiseCopyable {
  public var rawValue: UInt64

  @inlinable
  public init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// Requests that wait for the cluster to have room, oldest first: a ring of fixed size.
struct AdmissionQueue: Sendable {
  struct Waiting: Sendable, BitwiseCopyable {
    var request: DecisionRequest
    var peer: PeerID
    /// Nanoseconds.
    var deadline: UInt64
    /// False for one that was answered or abandoned out of turn.
    var isLive: Bool
  }

  let capacity: Int
  /// Live requests.
  private(set) var count = 0
  private var ring: [Waiting] = []
  private var head = 0
  /// Ring slots in use, live or not.
  private var used = 0

  init(capacity: Int) { self.capacity = max(0, capacity) }

  var isEmpty: Bool { count == 0 }

  /// False when the queue is full.
  mutating func append(_ request: DecisionRequest, from peer: PeerID, deadline: UInt64) -> Bool {
    guard used < capacity else { return false }
    let waiting = Waiting(request: request, peer: peer, deadline: deadline, isLive: true)
    let slot = (head + used) % capacity
    if slot < ring.count { ring[slot] = waiting } else { ring.append(waiting) }
    used += 1
    count += 1
    return true
  }

  /// The slots that hold requests, oldest first, as offsets for `subscript` and `remove`.
  var offsets: Range<Int> { 0..<used }

  /// nil when the one at `offset` is gone.
  subscript(offset: Int) -> Waiting? {
    let waiting = ring[(head + offset) % capacity]
    return waiting.isLive ? waiting : nil
  }

  mutating func remove(at offset: Int) {
    let slot = (head + offset) % capacity
    guard ring[slot].isLive else { return }
    ring[slot].isLive = false
    count -= 1
  }

  /// Frees the slots in front of the oldest live request. Offsets change.
  mutating func compact() {
    while used > 0, !ring[head].isLive {
      head = (head + 1) % capacity
      used -= 1
    }
  }

  /// The deadline of the oldest; all others have later ones.
  var nextDeadline: UInt64? {
    for offset in offsets { if let waiting = self[offset] { return waiting.deadline } }
    return nil
  }
}
