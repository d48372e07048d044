// SPDX-License-Identifier: Apache-2.0

public import ControlProtocol

/// What the dispatcher knows about the load of each back-end.
///
/// The load of a node is the number of connections that it reported as open plus the assignments that it has not reported
/// yet. A report states the true number and thereby repairs whatever was lost or counted twice; assignments that no node
/// ever reports are forgotten after `assignmentLifetime`. The load of a dead node disappears with it.
///
/// Credits of leases are no load, but take up room: below the hard maximum and below the admission limit. A node often
/// reports a connection that a lease let through before the distributor tells of it; then no assignment is open, and the
/// report settles a credit in advance (`Node.early`), so that neither order of the two counts a connection twice or never.
public struct LoadBook: Sendable {
  /// One back-end.
  struct Node: Sendable {
    /// Connections that the node reported as open.
    var reported: UInt32 = 0
    /// False until the first report of a control connection, which says nothing about what was accepted since.
    var hasReported = false
    var inFlight = InFlightAssignments()
    /// Credits of leases that are granted and neither told as used nor returned.
    var reserved: UInt32 = 0
    /// Of these, how many must have been used, because the node reported connections that nobody had assigned.
    var early: UInt32 = 0
    /// Fractions of a connection, in 1/65536, for batches served on behalf of another node.
    var charge: UInt32 = 0
    var weight: UInt32 = 100
    /// In 1/256; below 256 while the node is warming up.
    var ramp: UInt32 = 256
    var hardMaximum: UInt32 = .max
    /// Queued disk operations that the node reported last.
    var diskQueue: UInt32 = 0
    var state: BackEndState = .down

    var connections: UInt32 { reported.addingReportingOverflow(inFlight.total).partialValue }
    /// Connections that leases may still bring.
    var held: UInt32 { reserved - early }

    /// The node has accepted connections, or got them back: assignments first, then credits that were used untold.
    mutating func settle(_ count: UInt32) {
      let rest = count - inFlight.remove(count)
      early += min(rest, held)
    }
  }

  private(set) var nodes: [Node]
  /// Load per capacity by node index; kept apart from the rest because every decision reads it.
  private(set) var relative: [RelativeLoad]
  private var inverseWeight: [UInt64]
  /// Nodes that may get new connections by state and weight.
  public private(set) var eligible = BackEndSet()
  /// Eligible nodes at their hard maximum.
  public private(set) var full = BackEndSet()
  /// Connections on all eligible nodes.
  public private(set) var total: UInt64 = 0
  /// Connections that leases may still bring to eligible nodes.
  public private(set) var held: UInt64 = 0
  /// Sum of the weights of all eligible nodes.
  public private(set) var totalWeight: UInt64 = 0
  public private(set) var maximumWeight: UInt32 = 0
  /// Assignments that nobody reported or returned in time.
  public private(set) var forgotten: UInt64 = 0

  /// One more than the highest number that any node ever had.
  private var used = 0
  private let rotationPeriod: UInt64
  private var nextRotation: UInt64 = 0

  /// - Parameter assignmentLifetime: nanoseconds after which an unreported assignment no longer counts. Above every timeout
  ///   of a distributor, so that nothing that can still arrive is forgotten.
  public init(assignmentLifetime: UInt64 = 10_000_000_000) {
    nodes = Array(repeating: Node(), count: BackEndSet.capacity)
    relative = Array(repeating: RelativeLoad(rawValue: 0), count: BackEndSet.capacity)
    inverseWeight = Array(repeating: 65_536, count: BackEndSet.capacity)
    rotationPeriod = max(1, assignmentLifetime / UInt64(InFlightAssignments.buckets - 1))
  }

  /// Nodes that can take one more connection.
  public var available: BackEndSet { eligible.subtracting(full) }

  public func connections(_ index: Int) -> UInt32 { nodes[index].connections }
  public func relativeLoad(_ index: Int) -> RelativeLoad { relative[index] }
  public func weight(_ index: Int) -> UInt32 { nodes[index].weight }
  public func hardMaximum(_ index: Int) -> UInt32 { nodes[index].hardMaximum }
  public func state(_ index: Int) -> BackEndState { nodes[index].state }
  public func diskQueue(_ index: Int) -> UInt32 { nodes[index].diskQueue }
  public func inFlight(_ index: Int) -> UInt32 { nodes[index].inFlight.total }
  /// Connections that leases may still bring to the node.
  public func held(_ index: Int) -> UInt32 { nodes[index].held }
  /// Connections of all eligible nodes and those that leases may still bring: what the admission limit limits.
  @inline(__always)
  public var occupied: UInt64 { total &+ held }

  // MARK: Events

  /// Counts one assigned connection.
  mutating func assign(_ index: Int) {
    nodes[index].inFlight.add()
    if eligible.contains(index) { total &+= 1 }
    refresh(index)
  }

  /// A distributor could not use an assignment; false when none was open (reported or forgotten meanwhile).
  mutating func giveBack(_ index: Int) -> Bool {
    if nodes[index].inFlight.removeYoungest() {
      if eligible.contains(index) { total &-= 1 }
    } else {
      // Open all the same, where the credit that it used was settled for another connection.
      guard nodes[index].held > 0 else { return false }
      change(index) { $0.early += 1 }
    }
    refresh(index)
    return true
  }

  /// Takes the node's own account.
  mutating func report(_ index: Int, ended: UInt32, active: UInt32, diskQueue: UInt32) {
    change(index) { node in
      if node.hasReported {
        // What is open now and was not before, plus what ended, must have been accepted in between.
        let accepted = Int64(active) + Int64(ended) - Int64(node.reported)
        if accepted > 0 { node.settle(UInt32(clamping: accepted)) }
      }
      node.hasReported = true
      node.reported = active
      node.diskQueue = diskQueue
    }
  }

  /// Charges `units` of 1/65536 connection for a batch that the node serves for another; `release` takes them back.
  mutating func charge(_ index: Int, units: UInt32) {
    nodes[index].charge = UInt32(clamping: UInt64(nodes[index].charge) + UInt64(units))
    refresh(index)
  }

  mutating func release(_ index: Int, units: UInt32) {
    nodes[index].charge -= min(units, nodes[index].charge)
    refresh(index)
  }

  // MARK: Leases

  /// Reserves room for credits of a lease.
  mutating func reserve(_ index: Int, credits: UInt32) { change(index) { $0.reserved += credits } }

  /// Credits became connections; those that the node has reported already are not counted again.
  ///
  /// - Precondition: so many are reserved.
  mutating func use(_ index: Int, credits: UInt32) {
    change(index) { node in
      let known = min(node.early, credits)
      node.early -= known
      node.reserved -= credits
      node.inFlight.add(credits - known)
    }
  }

  /// Credits that will not be used.
  ///
  /// - Precondition: so many are reserved.
  mutating func release(_ index: Int, credits: UInt32) {
    change(index) { node in
      node.reserved -= credits
      node.early = min(node.early, node.reserved)
    }
  }

  // MARK: Membership

  /// A node (again) connects; its load is unknown until it reports.
  mutating func register(_ index: Int, weight: UInt32, hardMaximum: UInt32, keepingLoad: Bool) {
    used = max(used, index + 1)
    changeMembership(index) { node in
      if !keepingLoad {
        node.reported = 0
        node.inFlight.clear()
        node.reserved = 0
        node.early = 0
        node.charge = 0
      }
      node.hasReported = false
      node.weight = weight
      node.hardMaximum = hardMaximum
    }
  }

  mutating func set(_ index: Int, state: BackEndState) { changeMembership(index) { $0.state = state } }

  /// In 1/256 of the node's weight.
  mutating func set(_ index: Int, ramp: UInt32) { changeMembership(index) { $0.ramp = max(1, ramp) } }

  /// The node is gone, and its connections with it.
  mutating func lose(_ index: Int) {
    changeMembership(index) { node in
      let weight = node.weight
      let hardMaximum = node.hardMaximum
      node = Node()
      node.weight = weight
      node.hardMaximum = hardMaximum
    }
  }

  /// Forgets assignments that became too old; call with each event.
  @inline(__always)
  mutating func advance(to now: UInt64) {
    if now >= nextRotation { rotate(now) }
  }

  /// When `advance` has something to do; nil while nothing is in flight.
  var nextDeadline: UInt64? {
    for index in 0..<used where nodes[index].inFlight.total > 0 { return nextRotation }
    return nil
  }

  private mutating func rotate(_ now: UInt64) {
    let elapsed = nextRotation == 0 ? 1 : 1 + (now - nextRotation) / rotationPeriod
    for _ in 0..<min(elapsed, UInt64(InFlightAssignments.buckets)) {
      for index in 0..<used where nodes[index].inFlight.total > 0 {
        let expired = nodes[index].inFlight.rotate()
        forgotten += UInt64(expired)
        if eligible.contains(index) { total -= UInt64(expired) }
        refresh(index)
      }
    }
    nextRotation = now + rotationPeriod
  }

  private mutating func change(_ index: Int, _ body: (inout Node) -> Void) {
    if eligible.contains(index) {
      total -= UInt64(nodes[index].connections)
      held -= UInt64(nodes[index].held)
    }
    body(&nodes[index])
    if nodes[index].state == .up, nodes[index].weight > 0 {
      eligible.insert(index)
      total += UInt64(nodes[index].connections)
      held += UInt64(nodes[index].held)
    } else {
      eligible.remove(index)
    }
    refresh(index)
  }

  /// A change that may concern weight or state, and with it what is computed from all nodes.
  private mutating func changeMembership(_ index: Int, _ body: (inout Node) -> Void) {
    change(index, body)
    inverseWeight[index] = RelativeLoad.inverse(ofWeight: nodes[index].weight * nodes[index].ramp / 256)
    recountWeights()
    refresh(index)
  }

  private mutating func recountWeights() {
    totalWeight = 0
    maximumWeight = 0
    var rest = eligible
    while !rest.isEmpty {
      let weight = nodes[rest.popFirst()].weight
      totalWeight += UInt64(weight)
      maximumWeight = max(maximumWeight, weight)
    }
  }

  @inline(__always)
  private mutating func refresh(_ index: Int) {
    let connections = nodes[index].connections
    relative[index] = RelativeLoad(
      connections: connections, charge: nodes[index].charge, inverseWeight: inverseWeight[index])
    if UInt64(connections) + UInt64(nodes[index].held) >= UInt64(nodes[index].hardMaximum) {
      full.insert(index)
    } else {
      full.remove(index)
    }
  }
}
