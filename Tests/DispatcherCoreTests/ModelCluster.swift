// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DispatcherCore
import Rules
import Wire

/// A splitmix64 stream: the same seed gives the same test everywhere.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    return SeededGenerator.mix(state)
  }

  static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  mutating func pick(_ count: Int) -> Int { Int(next() % UInt64(count)) }
}

/// A dispatcher with nodes that hold connections, for tests of the core: what a node reports is what it has.
struct ModelCluster: ~Copyable {
  struct Node {
    var peer: PeerID
    var name: String
    var instance: UInt64 = 1
    var weight: UInt16 = 100
    var hardMaximum: UInt32 = 100_000
    var pools: [String] = []
    /// Connections that reached the node and are open.
    var active: UInt32 = 0
    /// Assigned, and still on their way.
    var arriving: UInt32 = 0
    var ended: UInt32 = 0
    var state = BackEndState.up
    var isConnected = true
  }

  var state: DispatcherState
  var actions: [DispatcherState.Action] = []
  var nodes: [Node] = []
  var now: UInt64 = 1_000_000_000
  let distributor = PeerID(1_000_000)
  private var nextPeer: UInt64 = 0
  private var nextRequest: UInt64 = 0
  var nextRequestID: UInt64 { nextRequest + 1 }

  init(_ parameters: DispatcherParameters) { state = DispatcherState(parameters) }

  @discardableResult
  mutating func send(_ event: DispatcherState.Event) -> ArraySlice<DispatcherState.Action> {
    let first = actions.count
    state.handle(event, now: now, &actions)
    return actions[first...]
  }

  mutating func addNode(weight: UInt16 = 100, hardMaximum: UInt32 = 100_000, pools: [String] = []) {
    nextPeer += 1
    nodes.append(
      Node(
        peer: PeerID(nextPeer), name: "node-\(nodes.count)", weight: weight, hardMaximum: hardMaximum,
        pools: pools))
    register(nodes.count - 1)
  }

  mutating func register(_ index: Int) {
    let node = nodes[index]
    send(
      .registerBackEnd(
        node.peer, name: node.name, instance: node.instance,
        ModelCluster.registration(index, weight: node.weight, maximum: node.hardMaximum, pools: node.pools)))
    report(index)
  }

  static func registration(
    _ index: Int, weight: UInt16 = 100, maximum: UInt32 = 1000, pools: [String] = []
  ) -> BackEndRegistration {
    BackEndRegistration(
      address: IPAddress(ipv4: 0x0a00_0000 + UInt32(index)), mac: MACAddress(bits: UInt64(index)), handoffPort: 7001,
      serverPort: 8080, weight: weight, maximumConnections: maximum, pools: pools)
  }

  mutating func report(_ index: Int) {
    let node = nodes[index]
    nodes[index].ended = 0
    send(.report(node.peer, LoadReport(ended: node.ended, active: node.active, state: node.state)))
  }

  /// Asks for one decision; nil when it waits in the queue.
  mutating func request(
    target: UInt64, route: Route = Route(), excluded: BackEndID? = nil
  ) -> Decision.Outcome? {
    nextRequest += 1
    let id = nextRequest
    let answers = send(
      .request(
        distributor,
        DecisionRequest(
          id: id, target: SeededGenerator.mix(target), route: route, excluded: excluded)))
    var outcome: Decision.Outcome?
    for case .answer(_, let decision) in answers where decision.id == id { outcome = decision.outcome }
    return outcome
  }

  /// Like `request`, but the connection reaches its node at once; the node's index, or nil.
  @discardableResult
  mutating func connect(target: UInt64, excluded: BackEndID? = nil) -> Int? {
    guard case .assigned(let id) = request(target: target, excluded: excluded) else { return nil }
    nodes[Int(id.rawValue)].active += 1
    report(Int(id.rawValue))
    return Int(id.rawValue)
  }

  mutating func end(_ index: Int, _ count: UInt32 = 1) {
    nodes[index].active -= count
    nodes[index].ended += count
    report(index)
  }

  /// Gives a node so many connections by requests for a target of its own.
  mutating func setLoad(_ index: Int, _ active: UInt32) {
    nodes[index].active = active
    report(index)
  }

  mutating func lose(_ index: Int) {
    nodes[index].isConnected = false
    nodes[index].active = 0
    nodes[index].arriving = 0
    nodes[index].ended = 0
    send(.lost(nodes[index].peer))
  }

  /// A node comes back as a new process with a new connection.
  mutating func rejoin(_ index: Int) {
    nextPeer += 1
    nodes[index].peer = PeerID(nextPeer)
    nodes[index].instance += 1
    nodes[index].isConnected = true
    nodes[index].state = .up
    register(index)
  }

  static func with(_ policy: Policy, nodes: Int, admission: Admission = .unlimited) -> ModelCluster {
    var cluster = ModelCluster(
      DispatcherParameters(policy: policy, tableCapacity: 10_000, admission: admission, slowStart: 0))
    for _ in 0..<nodes { cluster.addNode() }
    return cluster
  }
}
