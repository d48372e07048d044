// SPDX-License-Identifier: Apache-2.0

public import Handoff
public import Wire

/// Decides when handed-off flows leave the table. Pure: time and the table's occupation are given to it.
///
/// A flow that its back-end has reported as ended stays for a linger time, so that the client's last acknowledgements and
/// repeated FINs still reach the back-end's TIME_WAIT. When the table is more than three quarters full, the flows that
/// ended first leave before their time. A flow that nobody reports is found by sweeping and leaves when it is idle.
///
/// One book per worker, each with the flows that the worker answers for.
public struct FlowBook {
  public struct Limits: Hashable, Sendable {
    /// Flows that the table can hold, for all workers together.
    public var capacity: Int
    /// Nanoseconds from the reported end to the removal; 60 s as the kernel's TIME_WAIT.
    public var linger: UInt64 = 60_000_000_000
    /// Nanoseconds without a packet of the client after which a flow that nobody reported as ended is removed.
    public var idle: UInt64 = 3_600_000_000_000
    /// The same for a flow whose client has sent FIN or RST.
    public var idleAfterClose: UInt64 = 120_000_000_000

    public init(capacity: Int) { self.capacity = capacity }

    /// The occupation above which flows linger shorter.
    public var crowded: Int { capacity / 4 * 3 }
  }

  /// A flow to be removed from the table if it still belongs to this handoff.
  public struct Removal: Hashable, Sendable, BitwiseCopyable {
    public var flow: FlowTuple
    public var handoff: HandoffID

    @inlinable
    public init(flow: FlowTuple, handoff: HandoffID) {
      self.flow = flow
      self.handoff = handoff
    }
  }

  /// What a sweep says about an entry.
  public enum Age: Hashable, Sendable {
    case alive
    /// Nothing from the client for `Limits.idle`.
    case idle
    /// Nothing from the client for `Limits.idleAfterClose` after its FIN or RST.
    case closed
  }

  /// `ended` is `lingering` + `removedInTime` + `removedEarly`.
  public struct Counters: Hashable, Sendable {
    public var ended: UInt64
    /// Removals after the whole linger time.
    public var removedInTime: UInt64
    /// Removals before that, because the table was crowded or the book was full.
    public var removedEarly: UInt64

    public init(ended: UInt64 = 0, removedInTime: UInt64 = 0, removedEarly: UInt64 = 0) {
      self.ended = ended
      self.removedInTime = removedInTime
      self.removedEarly = removedEarly
    }
  }

  public let limits: Limits
  public private(set) var counters = Counters()
  private var queue = LingerQueue()

  public init(limits: Limits) {
    precondition(limits.capacity > 0)
    self.limits = limits
  }

  /// Flows that have ended and are still to be removed; never more than `Limits.capacity`.
  public var lingering: Int { queue.count }

  /// The back-end has reported the end of the flow's connection.
  ///
  /// - Returns: the flow that ended first, to be removed now, when the book is full.
  public mutating func ended(_ handoff: HandoffID, _ flow: FlowTuple, now: UInt64) -> Removal? {
    counters.ended += 1
    var pushedOut: Removal?
    if queue.count >= limits.capacity {
      pushedOut = queue.removeFirst()?.removal
      if pushedOut != nil { counters.removedEarly += 1 }
    }
    queue.append(LingerQueue.Element(removal: Removal(flow: flow, handoff: handoff), due: now &+ limits.linger))
    return pushedOut
  }

  /// The next flow to be removed, nil when there is none for now. Call until it is nil.
  ///
  /// - Parameter occupied: flows in the table, for all workers together, less what the caller has removed since.
  public mutating func due(now: UInt64, occupied: Int) -> Removal? {
    guard let oldest = queue.first else { return nil }
    if oldest.due <= now {
      counters.removedInTime += 1
    } else if occupied > limits.crowded {
      counters.removedEarly += 1
    } else {
      return nil
    }
    _ = queue.removeFirst()
    return oldest.removal
  }

  /// When `due` will have something if the table stays as empty as it is, nil when no flow lingers.
  public var nextDeadline: UInt64? { queue.first?.due }

  /// Whether an entry that a sweep met has been idle for too long. Ended flows that linger are `due`'s business: their
  /// handoff has been reported, so removing them here as well does no harm.
  public func age(of entry: FlowEntry, now: UInt64) -> Age {
    // The kernel's clock is coarse, and the entry may have been touched after `now` was read.
    let silent = now > entry.lastSeen ? now - entry.lastSeen : 0
    if !entry.seen.isDisjoint(with: [.fin, .rst, .ended]) && silent >= limits.idleAfterClose { return .closed }
    return silent >= limits.idle ? .idle : .alive
  }
}

/// A first-in, first-out queue on a ring that doubles when it is full.
private struct LingerQueue {
  struct Element: BitwiseCopyable {
    var removal: FlowBook.Removal
    var due: UInt64
  }

  private var ring: [Element] = []
  private var head = 0
  private(set) var count = 0

  var first: Element? { count == 0 ? nil : ring[head] }

  mutating func append(_ element: Element) {
    if count == ring.count { grow(fill: element) }
    ring[(head + count) % ring.count] = element
    count += 1
  }

  mutating func removeFirst() -> Element? {
    guard let element = first else { return nil }
    head = (head + 1) % ring.count
    count -= 1
    return element
  }

  private mutating func grow(fill: Element) {
    var larger: [Element] = []
    let capacity = max(64, ring.count * 2)
    larger.reserveCapacity(capacity)
    larger.append(contentsOf: ring[head...])
    larger.append(contentsOf: ring[..<head])
    larger.append(contentsOf: repeatElement(fill, count: capacity - larger.count))
    ring = larger
    head = 0
  }
}
