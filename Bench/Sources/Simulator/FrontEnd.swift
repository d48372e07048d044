// SPDX-License-Identifier: Apache-2.0

internal import ControlProtocol
public import DispatcherCore
internal import Wire

/// How a simulated cluster distributes requests.
public enum Distribution: Hashable, Sendable {
  /// A policy of the dispatcher, by its own code.
  case dispatcher(PolicyName)
  /// Bounded-load hashing with a factor in percent.
  case boundedHash(factorPercent: UInt64)
  /// LB/GC of the paper: the front-end simulates the nodes' caches as one; a target that is in none goes to the node whose
  /// next victim is the least valuable.
  case globalCache
  /// WRR/GMS of the paper: least connections, and a miss is read from another node's memory when one has it.
  case globalMemory

  public var name: String {
    switch self {
    case .dispatcher(let name): name.rawValue
    case .boundedHash(let factor): "bounded-hash-\(factor)"
    case .globalCache: "lb/gc"
    case .globalMemory: "wrr/gms"
    }
  }
}

/// The front-end of a simulated cluster: the real dispatcher, told what happens as a real cluster would tell it.
struct FrontEnd: ~Copyable {
  private var state: DispatcherState
  private var actions: [DispatcherState.Action] = []
  private var active: [UInt32]
  private var peers: [PeerID] = []
  private var nextPeer: UInt64 = 1
  private let distribution: Distribution
  /// LB/GC only.
  private var caches: [GreedyDualSizeCache] = []
  private var owner: [Int32: Int] = [:]
  private var isUp: [Bool]
  private let cacheBytes: Int
  private let seed: UInt64

  init(
    _ distribution: Distribution, nodes: Int, cacheBytes: Int, thresholds: LARDThresholds, tableCapacity: Int,
    seed: UInt64
  ) {
    self.distribution = distribution
    self.seed = seed
    var parameters: DispatcherParameters
    switch distribution {
    case .dispatcher(let name): parameters = .with(name, thresholds: thresholds)
    case .boundedHash(let factor):
      parameters = .with(.boundedLoadHash, thresholds: thresholds)
      parameters.policy = .boundedLoadHash(BoundedLoadHash(factorPercent: factor))
    case .globalCache, .globalMemory: parameters = .with(.leastConnections, thresholds: thresholds)
    }
    parameters.thresholds = thresholds
    parameters.tableCapacity = tableCapacity
    parameters.queueCapacity = 0
    state = DispatcherState(parameters)
    active = Array(repeating: 0, count: nodes)
    isUp = Array(repeating: true, count: nodes)
    self.cacheBytes = cacheBytes
    peers = Array(repeating: PeerID(0), count: nodes)
    if distribution == .globalCache {
      caches = Array(repeating: GreedyDualSizeCache(capacity: cacheBytes), count: nodes)
    }
    for node in 0..<nodes { join(node, now: 0) }
  }

  private func hash(_ target: Int32) -> UInt64 { Random.mix(UInt64(target) &+ seed &* 0x9e37_79b9_7f4a_7c15) }

  mutating func join(_ node: Int, now: UInt64) {
    peers[node] = PeerID(nextPeer)
    active[node] = 0
    isUp[node] = true
    let registration = BackEndRegistration(
      address: IPAddress(ipv4: 0x0a00_0000 + UInt32(node)), mac: MACAddress(bits: 0), handoffPort: 1, serverPort: 1,
      weight: 100, maximumConnections: 1_000_000)
    state.handle(
      .registerBackEnd(peers[node], name: "node-\(node)", instance: nextPeer, registration), now: now, &actions)
    nextPeer += 1
    report(node, ended: 0, now: now)
  }

  mutating func lose(_ node: Int, now: UInt64) {
    state.handle(.lost(peers[node]), now: now, &actions)
    active[node] = 0
    isUp[node] = false
    actions.removeAll(keepingCapacity: true)
    guard distribution == .globalCache else { return }
    caches[node] = GreedyDualSizeCache(capacity: cacheBytes)
    owner = owner.filter { $0.value != node }
  }

  /// The node for a request; nil when the cluster is at its admission limit.
  mutating func place(_ target: Int32, size: Int, now: UInt64) -> Int? {
    guard state.loads.total < state.admissionLimit else { return nil }
    if distribution == .globalCache { return placeByGlobalCache(target, size: size, now: now) }
    actions.removeAll(keepingCapacity: true)
    state.handle(
      .request(
        PeerID(0), DecisionRequest(id: 0, target: hash(target))), now: now,
      &actions)
    for case .answer(_, let decision) in actions {
      if case .assigned(let id) = decision.outcome {
        active[Int(id.rawValue)] += 1
        return Int(id.rawValue)
      }
    }
    return nil
  }

  /// The load is kept in the dispatcher's book by reports alone.
  private mutating func placeByGlobalCache(_ target: Int32, size: Int, now: UInt64) -> Int {
    let node: Int
    if let known = owner[target] {
      node = known
      caches[node].use(target)
    } else {
      node = leastValuable(for: size)
      for gone in caches[node].insert(target, size: size) { owner[gone] = nil }
      if caches[node].contains(target) { owner[target] = node }
    }
    active[node] += 1
    report(node, ended: 0, now: now)
    return node
  }

  private mutating func leastValuable(for size: Int) -> Int {
    var best = isUp.firstIndex(of: true) ?? 0
    var least = Double.infinity
    for node in caches.indices where isUp[node] {
      // Room that is still free has no value at all.
      let value = caches[node].used + size <= caches[node].capacity ? -1 : caches[node].victim?.priority ?? -1
      if value < least || (value == least && active[node] < active[best]) {
        least = value
        best = node
      }
    }
    return best
  }

  /// Where a later request of a persistent connection is served.
  mutating func placeLater(
    _ target: Int32, handling: Int, diskQueue: Int, now: UInt64
  ) -> (node: Int, charge: DispatcherState.BatchCharge?) {
    let load = LoadReport(ended: 0, active: active[handling], state: .up)
    state.handle(.report(peers[handling], load, diskQueue: UInt32(diskQueue)), now: now, &actions)
    actions.removeAll(keepingCapacity: true)
    let placed = state.placeLater(
      target: hash(target), handling: BackEndID(UInt16(handling)), now: now)
    return (Int(placed.backEnd.rawValue), placed.charge)
  }

  mutating func endBatch(_ charge: DispatcherState.BatchCharge) { state.endBatch(charge) }

  mutating func finish(_ node: Int, now: UInt64) {
    active[node] -= 1
    report(node, ended: 1, now: now)
  }

  private mutating func report(_ node: Int, ended: UInt32, now: UInt64) {
    state.handle(
      .report(peers[node], LoadReport(ended: ended, active: active[node], state: .up)), now: now, &actions)
    actions.removeAll(keepingCapacity: true)
  }
}
