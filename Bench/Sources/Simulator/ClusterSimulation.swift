// SPDX-License-Identifier: Apache-2.0

public import DispatcherCore

/// One run: a workload on a cluster, in virtual time. The cluster is kept at its admission limit: the next request enters as
/// soon as there is room (ASPLOS 1998, section 4).
public struct ClusterSimulation: ~Copyable {
  public struct Parameters: Sendable {
    public var nodes = 8
    public var cacheBytes = 4 << 20
    public var costs = CostModel()
    public var thresholds = LARDThresholds()
    /// How often the workload runs; the first time is not measured, unless it is the only one.
    public var passes = 2
    /// A node that fails after one third of the measured requests and comes back, cold, after two thirds.
    public var failingNode: Int?
    public var persistence = Persistence.none
    /// Another one gives all targets other hashes, and so other places to policies that go by them.
    public var seed: UInt64 = 0

    public init() {}
  }

  /// How many requests a connection brings, and who serves the later ones.
  public enum Persistence: Sendable {
    /// One request per connection.
    case none
    /// All requests of a connection are served by the node that it was handed to.
    case singleHandoff
    /// Each later request is placed by the policy; when another node serves it, the connection's node fetches the response
    /// from there (back-end forwarding, USENIX 1999).
    case perRequest
  }

  private enum Stage {
    case opened
    /// The response of another node has come.
    case fetched
    case sent
  }

  private enum Event {
    /// The CPU finished a stage of a connection.
    case connection(Int32, Stage)
    /// A disk finished a piece of a file at a node.
    case read(node: Int, target: Int32, left: Int, generation: Int32)
  }

  private struct Connection {
    var target: Int32
    /// The node that has the connection.
    var node: Int32
    var generation: Int32
    /// Bytes of the present response that are not sent yet.
    var left: Int
    /// Positions of the requests that are still to come.
    var next: Int
    var end: Int
    /// The node that serves the present request, and what it was charged.
    var server: Int32
    var charge: DispatcherState.BatchCharge?
  }

  private struct Node {
    var cache: GreedyDualSizeCache
    var processorFree: UInt64 = 0
    var diskFree: [UInt64]
    var reading: [Int32: [Int32]] = [:]
    var load = 0
    var isUp = true
    /// Grows when the node fails: what it was doing is void.
    var generation: Int32 = 0
    var lowSince: UInt64 = 0
    var lowTime: UInt64 = 0
    var highest = 0
  }

  private let workload: Workload
  private let layout: PersistentConnections
  private let parameters: Parameters
  private let usesGlobalMemory: Bool
  private var frontEnd: FrontEnd
  private var nodes: [Node]
  private var connections: [Connection] = []
  private var freeConnections: [Int32] = []
  private var events = Heap<(time: UInt64, order: UInt64, event: Event)> { ($0.time, $0.order) < ($1.time, $1.order) }
  private var order: UInt64 = 0
  private var now: UInt64 = 0
  private var result = SimulationResult()

  public init(_ workload: Workload, _ distribution: Distribution, _ parameters: Parameters) {
    self.workload = workload
    self.parameters = parameters
    usesGlobalMemory = distribution == .globalMemory
    if case .none = parameters.persistence {
      layout = PersistentConnections(single: workload.requests)
    } else {
      precondition(parameters.failingNode == nil, "nodes fail without persistent connections only")
      layout = workload.persistent
    }
    frontEnd = FrontEnd(
      distribution, nodes: parameters.nodes, cacheBytes: parameters.cacheBytes, thresholds: parameters.thresholds,
      tableCapacity: max(1, workload.sizes.count), seed: parameters.seed)
    let node = Node(
      cache: GreedyDualSizeCache(capacity: parameters.cacheBytes),
      diskFree: Array(repeating: 0, count: parameters.costs.disks))
    nodes = Array(repeating: node, count: parameters.nodes)
  }

  /// Runs until the last request enters. What follows would measure how long the fullest node takes for its last
  /// connections, seconds of disk time, which with traces of tens of thousands of requests is no small part.
  public mutating func run() -> SimulationResult {
    let length = layout.connections.count
    let total = length * max(1, parameters.passes)
    let warmUp = parameters.passes > 1 ? length : 0
    let failure = warmUp + (total - warmUp) / 3
    let recovery = warmUp + 2 * (total - warmUp) / 3
    var entered = 0
    while true {
      while entered < total {
        let range = layout.connections[entered % length]
        let target = layout.requests[range.lowerBound]
        guard let node = frontEnd.place(target, size: workload.sizes[Int(target)], now: now) else { break }
        if entered == warmUp { beginMeasuring() }
        start(range, at: node)
        entered += 1
        if let failing = parameters.failingNode {
          if entered == failure { fail(failing) }
          if entered == recovery { recover(failing) }
        }
      }
      if entered == total { break }
      guard let next = events.pop() else { break }
      now = next.time
      handle(next.event)
    }
    return finish()
  }

  // MARK: Measuring

  private mutating func beginMeasuring() {
    result = SimulationResult()
    result.start = now
    for index in nodes.indices {
      nodes[index].lowTime = 0
      nodes[index].lowSince = now
      nodes[index].highest = nodes[index].load
    }
    noteWorkAhead(isEnd: false)
  }

  private mutating func finish() -> SimulationResult {
    var low: UInt64 = 0
    for index in nodes.indices {
      noteLoad(index, change: 0)
      low += nodes[index].lowTime
    }
    noteWorkAhead(isEnd: true)
    let duration = max(1, now - result.start)
    result.seconds = Double(duration) / 1e9
    result.idle = Double(low) / Double(duration) / Double(nodes.count)
    result.processorBusy = Double(result.processorNanoseconds) / Double(duration) / Double(nodes.count)
    result.diskBusy =
      Double(result.diskNanoseconds) / Double(duration) / Double(nodes.count * parameters.costs.disks)
    result.highestLoad = nodes.map(\.highest).max() ?? 0
    return result
  }

  /// Work is counted when it is given; what was given before the measurement and is done during it counts too, and what is
  /// left at its end does not.
  private mutating func noteWorkAhead(isEnd: Bool) {
    func left(_ time: UInt64) -> Int64 { time > now ? (isEnd ? -1 : 1) * Int64(time - now) : 0 }
    for node in nodes where node.isUp {
      result.processorNanoseconds += left(node.processorFree)
      for disk in node.diskFree { result.diskNanoseconds += left(disk) }
    }
  }

  /// A node is under-used while its load is below 40 % of T_low.
  private mutating func noteLoad(_ index: Int, change: Int) {
    let limit = Int(parameters.thresholds.low) * 2 / 5
    if nodes[index].load < limit { nodes[index].lowTime += now - nodes[index].lowSince }
    nodes[index].lowSince = now
    nodes[index].load += change
    nodes[index].highest = max(nodes[index].highest, nodes[index].load)
  }

  // MARK: Serving

  private mutating func schedule(_ event: Event, at time: UInt64) {
    order += 1
    events.push((time, order, event))
  }

  /// The CPU of a node works in the order of demand.
  private mutating func compute(_ cost: UInt64, at node: Int, then event: Event) {
    nodes[node].processorFree = max(nodes[node].processorFree, now) + cost
    result.processorNanoseconds += Int64(cost)
    schedule(event, at: nodes[node].processorFree)
  }

  private mutating func start(_ range: Range<Int>, at node: Int) {
    noteLoad(node, change: 1)
    let target = layout.requests[range.lowerBound]
    let connection = Connection(
      target: target, node: Int32(node), generation: nodes[node].generation, left: workload.sizes[Int(target)],
      next: range.lowerBound + 1, end: range.upperBound, server: Int32(node), charge: nil)
    let index: Int32
    if let free = freeConnections.popLast() {
      index = free
      connections[Int(free)] = connection
    } else {
      index = Int32(connections.count)
      connections.append(connection)
    }
    compute(parameters.costs.open(), at: node, then: .connection(index, .opened))
  }

  private mutating func handle(_ event: Event) {
    switch event {
    case .connection(let index, let stage):
      let connection = connections[Int(index)]
      let node = Int(connection.node)
      guard nodes[node].generation == connection.generation else {
        freeConnections.append(index)
        return
      }
      switch stage {
      case .opened: lookUp(index, connection)
      case .fetched:
        if let charge = connection.charge { frontEnd.endBatch(charge) }
        connections[Int(index)].charge = nil
        send(index)
      case .sent where connection.left > 0: send(index)
      case .sent where connection.next < connection.end: continueConnection(index, node)
      case .sent: end(index, node)
      }
    case .read(let node, let target, let left, let generation):
      guard nodes[node].generation == generation else { return }
      if left > 0 { read(target, at: node, left: left, isFirst: false) } else { arrived(target, at: node) }
    }
  }

  /// The next request of a persistent connection comes as soon as the response to the last one is sent.
  private mutating func continueConnection(_ index: Int32, _ node: Int) {
    result.completed += 1
    let target = layout.requests[connections[Int(index)].next]
    connections[Int(index)].next += 1
    connections[Int(index)].target = target
    connections[Int(index)].left = workload.sizes[Int(target)]
    connections[Int(index)].server = Int32(node)
    if case .perRequest = parameters.persistence {
      let placed = frontEnd.placeLater(target, handling: node, diskQueue: nodes[node].reading.count, now: now)
      connections[Int(index)].server = Int32(placed.node)
      connections[Int(index)].charge = placed.charge
      if placed.node != node { result.forwarded += 1 }
    }
    lookUp(index, connections[Int(index)])
  }

  /// The serving node has the content: the connection's node sends it, or gets it first.
  private mutating func respond(_ index: Int32) {
    let connection = connections[Int(index)]
    if connection.server == connection.node { return send(index) }
    compute(
      parameters.costs.send(connection.left, isLast: false), at: Int(connection.server),
      then: .connection(index, .fetched))
  }

  private mutating func lookUp(_ index: Int32, _ connection: Connection) {
    let node = Int(connection.server)
    let size = workload.sizes[Int(connection.target)]
    result.requests += 1
    if nodes[node].cache.contains(connection.target) {
      nodes[node].cache.use(connection.target)
      respond(index)
      return
    }
    result.misses += 1
    if usesGlobalMemory, let holder = nodes.indices.first(where: { nodes[$0].cache.contains(connection.target) }) {
      // The holder sends the file through its own CPU, then it is here.
      let cost = parameters.costs.send(size, isLast: false)
      nodes[holder].processorFree = max(nodes[holder].processorFree, now) + cost
      result.processorNanoseconds += Int64(cost)
      nodes[node].cache.insert(connection.target, size: size)
      result.remoteReads += 1
      send(index)
      return
    }
    if nodes[node].reading[connection.target] != nil {
      nodes[node].reading[connection.target]?.append(index)
      return
    }
    nodes[node].reading[connection.target] = [index]
    result.diskReads += 1
    read(connection.target, at: node, left: size, isFirst: true)
  }

  private mutating func read(_ target: Int32, at node: Int, left: Int, isFirst: Bool) {
    let bytes = min(left, CostModel.piece)
    let disk = Int(target) % nodes[node].diskFree.count
    let cost = parameters.costs.read(bytes, isFirst: isFirst)
    nodes[node].diskFree[disk] = max(nodes[node].diskFree[disk], now) + cost
    result.diskNanoseconds += Int64(cost)
    schedule(
      .read(node: node, target: target, left: left - bytes, generation: nodes[node].generation),
      at: nodes[node].diskFree[disk])
  }

  private mutating func arrived(_ target: Int32, at node: Int) {
    nodes[node].cache.insert(target, size: workload.sizes[Int(target)])
    for index in nodes[node].reading.removeValue(forKey: target) ?? [] { respond(index) }
  }

  private mutating func send(_ index: Int32) {
    let left = connections[Int(index)].left
    let bytes = min(left, CostModel.piece)
    connections[Int(index)].left = left - bytes
    let isLast = bytes == left && connections[Int(index)].next == connections[Int(index)].end
    compute(
      parameters.costs.send(bytes, isLast: isLast), at: Int(connections[Int(index)].node),
      then: .connection(index, .sent))
  }

  private mutating func end(_ index: Int32, _ node: Int) {
    result.completed += 1
    freeConnections.append(index)
    noteLoad(node, change: -1)
    frontEnd.finish(node, now: now)
  }

  // MARK: Failure

  private mutating func fail(_ index: Int) {
    result.broken += nodes[index].load
    noteLoad(index, change: -nodes[index].load)
    nodes[index].generation += 1
    noteLost(index)
    nodes[index].isUp = false
    nodes[index].reading = [:]
    nodes[index].cache = GreedyDualSizeCache(capacity: parameters.cacheBytes)
    frontEnd.lose(index, now: now)
  }

  /// The work that a failing node was given and will not do.
  private mutating func noteLost(_ index: Int) {
    result.processorNanoseconds -= Int64(max(nodes[index].processorFree, now) - now)
    for disk in nodes[index].diskFree { result.diskNanoseconds -= Int64(max(disk, now) - now) }
    nodes[index].processorFree = now
    nodes[index].diskFree = nodes[index].diskFree.map { _ in now }
  }

  private mutating func recover(_ index: Int) {
    nodes[index].isUp = true
    nodes[index].processorFree = now
    nodes[index].diskFree = Array(repeating: now, count: parameters.costs.disks)
    frontEnd.join(index, now: now)
  }
}

/// What one run gave.
public struct SimulationResult: Hashable, Sendable {
  /// Requests that were looked up in a cache; those in the air at the start of the measurement count where they are served.
  public var requests = 0
  public var completed = 0
  public var misses = 0
  public var diskReads = 0
  public var remoteReads = 0
  /// Later requests of persistent connections that another node served.
  public var forwarded = 0
  /// Connections that a failing node took with it.
  public var broken = 0
  public var seconds = 0.0
  /// Mean share of time in which a node's load was below 40 % of T_low.
  public var idle = 0.0
  /// The most connections that any node had.
  public var highestLoad = 0
  /// Mean share of time for which processors and disks were given work: what a saturated cluster is bound by.
  public var processorBusy = 0.0
  public var diskBusy = 0.0
  var processorNanoseconds: Int64 = 0
  var diskNanoseconds: Int64 = 0
  var start: UInt64 = 0

  public var throughput: Double { Double(completed) / max(seconds, 1e-9) }
  public var missRatio: Double { Double(misses) / Double(max(1, requests)) }
}
