// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DispatcherCore
import Rules
import Testing

@Suite("Policies without a target table")
struct PolicyTests {
  @Test("smooth weighted round robin: 5, 1, 1")
  func smoothRoundRobin() {
    var cluster = ModelCluster(
      DispatcherParameters(policy: Policy(.weightedRoundRobin), admission: .unlimited, slowStart: 0))
    for weight in [500, 100, 100] { cluster.addNode(weight: UInt16(weight)) }
    let places = (0..<14).compactMap { cluster.connect(target: $0) }
    #expect(places == [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0])
  }

  @Test("least connections counts per weight")
  func leastConnections() {
    var cluster = ModelCluster(
      DispatcherParameters(policy: Policy(.leastConnections), admission: .unlimited, slowStart: 0))
    cluster.addNode(weight: 300)
    cluster.addNode(weight: 100)
    for target in 0..<400 { cluster.connect(target: UInt64(target)) }
    #expect(cluster.nodes.map(\.active) == [300, 100])
  }

  @Test("hash is stable, and a lost node moves only its own targets")
  func hash() {
    var cluster = ModelCluster.with(Policy(.hash), nodes: 5)
    func places(_ cluster: inout ModelCluster) -> [Int] { (0..<2000).compactMap { cluster.connect(target: $0) } }
    let before = places(&cluster)
    #expect(places(&cluster) == before)
    for index in 0..<5 {
      let share = before.count { $0 == index }
      #expect((250...570).contains(share), "node \(index) has \(share) of 2000 targets")
    }
    cluster.lose(2)
    let after = places(&cluster)
    #expect(after.count == 2000)
    for index in before.indices where before[index] != 2 { #expect(after[index] == before[index]) }
    cluster.rejoin(2)
    #expect(places(&cluster) == before)
  }

  @Test("bounded load: one target alone is spread, and nobody is above its bound")
  func boundedLoad() {
    var cluster = ModelCluster.with(.boundedLoadHash(BoundedLoadHash(factorPercent: 125)), nodes: 4)
    for count in 1...400 {
      cluster.connect(target: 7)
      let bound = (Double(count) * 1.25 / 4).rounded(.up)
      #expect(cluster.nodes.allSatisfy { Double($0.active) <= bound }, "\(cluster.nodes.map(\.active)) at \(count)")
    }
    #expect(cluster.nodes.allSatisfy { $0.active > 0 })
    #expect(cluster.state.counters[.hashed] > 100 && cluster.state.counters[.displaced] > 100)
  }

  @Test("pools limit the choice, each with mappings of its own")
  func pools() {
    let parameters = DispatcherParameters(
      policy: Policy(.lard), tableCapacity: 100, admission: .unlimited, slowStart: 0)
    var cluster = ModelCluster(parameters)
    for node in 0..<4 { cluster.addNode(pools: node == 1 || node == 2 ? ["api", "old"] : ["old"]) }
    for target in 0..<50 {
      guard case .assigned(let id) = cluster.request(target: UInt64(target), route: Route(pool: PoolID("api"))) else {
        Issue.record("no node in the pool")
        return
      }
      #expect(id.rawValue == 1 || id.rawValue == 2)
    }
    #expect(cluster.request(target: 1, route: Route(pool: PoolID("none"))) == .noBackEnd)
    // A node leaves a pool by registering without it.
    for node in 1...2 {
      cluster.nodes[node].pools = ["old"]
      cluster.register(node)
    }
    #expect(cluster.request(target: 1, route: Route(pool: PoolID("api"))) == .noBackEnd)
  }

  @Test("explain tells what the next request does, and changes nothing", arguments: PolicyName.allCases)
  func explain(_ name: PolicyName) {
    var cluster = ModelCluster(
      DispatcherParameters(policy: Policy(name), tableCapacity: 64, admission: .thresholds, slowStart: 0))
    for _ in 0..<4 { cluster.addNode(hardMaximum: 90) }
    var generator = SeededGenerator(seed: 4)
    for _ in 0..<5000 {
      let target = UInt64(generator.pick(100))
      let told = cluster.state.explain(target: SeededGenerator.mix(target), now: cluster.now)
      let done = cluster.connect(target: target)
      switch told.verdict {
      case .assigned(let id, _, _): #expect(done == Int(id.rawValue))
      case .waits, .noBackEnd: #expect(done == nil)
      }
      cluster.now += 5_000_000
      let busy = cluster.nodes.indices.filter { cluster.nodes[$0].active > 0 }
      if generator.pick(40) != 0, !busy.isEmpty { cluster.end(busy[generator.pick(busy.count)]) }
    }
  }
}
