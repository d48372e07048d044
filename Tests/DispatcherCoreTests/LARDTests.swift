// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DispatcherCore
import Testing

@Suite("LARD and LARD/R")
struct LARDTests {
  @Test("a new target goes to the least loaded node and stays there")
  func firstAndMapped() {
    var cluster = ModelCluster.with(Policy(.lard), nodes: 3)
    cluster.setLoad(0, 5)
    cluster.setLoad(1, 3)
    cluster.setLoad(2, 4)
    #expect(cluster.connect(target: 1) == 1)
    cluster.setLoad(1, 60)
    #expect(cluster.connect(target: 1) == 1)
    #expect(cluster.state.counters[.first] == 1 && cluster.state.counters[.mapped] == 1)
  }

  struct Case: Sendable, CustomStringConvertible {
    var description: String
    /// Loads of the owner (node 0) and of the two others.
    var loads: [UInt32]
    var moves: Bool
  }

  static let cases = [
    Case(description: "at T_high with an idle node", loads: [65, 0, 30], moves: false),
    Case(description: "above T_high with an idle node", loads: [66, 24, 30], moves: true),
    Case(description: "above T_high, nobody below T_low", loads: [66, 25, 30], moves: false),
    Case(description: "just below 2 T_high, nobody below T_low", loads: [129, 25, 30], moves: false),
    Case(description: "at 2 T_high, nobody below T_low", loads: [130, 25, 30], moves: true),
    Case(description: "at 2 T_high and everybody as loaded", loads: [130, 140, 140], moves: false),
  ]

  @Test("a target moves exactly when the paper says so", arguments: cases)
  func moves(_ example: Case) {
    var cluster = ModelCluster.with(Policy(.lard), nodes: 3)
    cluster.setLoad(1, 1)
    cluster.setLoad(2, 1)
    #expect(cluster.connect(target: 1) == 0)
    for index in 0..<3 { cluster.setLoad(index, example.loads[index]) }
    let chosen = cluster.connect(target: 1)
    #expect((chosen != 0) == example.moves)
    #expect(cluster.state.counters[.moved] == (example.moves ? 1 : 0))
    // The move stays when the load is gone.
    for index in 0..<3 { cluster.setLoad(index, 0) }
    #expect(cluster.connect(target: 1) == chosen)
  }

  @Test("LARD/R grows a set under load, uses its least loaded member, and shrinks it after K")
  func replication() {
    var cluster = ModelCluster.with(Policy(.replicatedLARD), nodes: 3)
    cluster.setLoad(1, 1)
    cluster.setLoad(2, 1)
    #expect(cluster.connect(target: 1) == 0)
    cluster.setLoad(0, 66)
    #expect(cluster.connect(target: 1) != 0)
    #expect(cluster.state.counters[.replicated] == 1)
    let key = SeededGenerator.mix(1)
    let grown = cluster.state.table[key]
    #expect(grown?.replicas.count == 2 && grown?.replicas.contains(0) == true)
    // Both members serve it: the lighter of the two.
    let other = cluster.state.table[key]?.replicas.members.last.map { Int($0.rawValue) } ?? 0
    cluster.setLoad(0, 10)
    cluster.setLoad(other, 20)
    #expect(cluster.connect(target: 1) == 0)
    // Not yet K.
    cluster.now += 19_000_000_000
    cluster.setLoad(0, 10)
    #expect(cluster.connect(target: 1) == 0)
    #expect(cluster.state.table[key]?.replicas.count == 2)
    // After K the most loaded member leaves.
    cluster.now += 2_000_000_000
    #expect(cluster.connect(target: 1) == 0)
    #expect(cluster.state.table[key]?.replicas.members == [BackEndID(0)])
  }

  @Test("a full set grows instead of losing locality")
  func fullSet() {
    var cluster = ModelCluster(
      DispatcherParameters(policy: Policy(.replicatedLARD), tableCapacity: 100, admission: .unlimited, slowStart: 0))
    for _ in 0..<3 { cluster.addNode(hardMaximum: 2) }
    let places = (0..<6).compactMap { _ in cluster.connect(target: 1) }
    #expect(places.count == 6)
    #expect(Set(places).count == 3)
    #expect(cluster.state.table[SeededGenerator.mix(1)]?.replicas.count == 3)
    #expect(cluster.request(target: 1) == nil, "all nodes are at their hard maximum: the request waits")
  }

  @Test(
    "targets of a dead node are assigned as if never seen",
    arguments: [PolicyName.lard, .replicatedLARD, .extendedLARD])
  func orphans(_ name: PolicyName) {
    var cluster = ModelCluster.with(Policy(name), nodes: 2)
    guard let owner = cluster.connect(target: 1) else {
      Issue.record("no node")
      return
    }
    cluster.lose(owner)
    #expect(cluster.connect(target: 1) == 1 - owner)
    #expect(cluster.state.counters[.orphaned] == 1)
    cluster.rejoin(owner)
    #expect(cluster.connect(target: 1) == 1 - owner)
  }

  @Test(
    "a refused request goes elsewhere and the mapping stays",
    arguments: [PolicyName.lard, .replicatedLARD, .extendedLARD])
  func excluded(_ name: PolicyName) {
    var cluster = ModelCluster.with(Policy(name), nodes: 3)
    guard let owner = cluster.connect(target: 1) else {
      Issue.record("no node")
      return
    }
    let chosen = cluster.connect(target: 1, excluded: BackEndID(UInt16(owner)))
    #expect(chosen != nil && chosen != owner)
    #expect(cluster.state.counters[.avoided] == 1)
    #expect(cluster.connect(target: 1) == owner)
  }

  @Test("an idle cluster spreads targets over all nodes")
  func idleSpread() {
    var cluster = ModelCluster.with(Policy(.lard), nodes: 4)
    var counts = [0, 0, 0, 0]
    for target in 0..<400 {
      guard let index = cluster.connect(target: UInt64(target)) else { continue }
      counts[index] += 1
      cluster.end(index)
    }
    #expect(counts.allSatisfy { $0 > 60 }, "\(counts)")
  }

  @Test("weights scale the thresholds")
  func weights() {
    var cluster = ModelCluster(
      DispatcherParameters(policy: Policy(.lard), tableCapacity: 100, admission: .unlimited, slowStart: 0))
    cluster.addNode(weight: 200)
    cluster.addNode(weight: 100)
    cluster.setLoad(1, 10)
    #expect(cluster.connect(target: 1) == 0)
    cluster.setLoad(0, 130)
    #expect(cluster.connect(target: 1) == 0, "130 connections are T_high for a node of weight 200")
    #expect(cluster.connect(target: 1) == 1)
  }
}
