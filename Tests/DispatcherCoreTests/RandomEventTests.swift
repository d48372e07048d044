// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DispatcherCore
import Foundation
import Rules
import Testing

/// Random clusters under random events. `HANDOFF_RANDOM_EVENTS` sets how many per policy; `make random-events` runs ten
/// million of each in the release build.
@Suite("Random events")
struct RandomEventTests {
  static let events = ProcessInfo.processInfo.environment["HANDOFF_RANDOM_EVENTS"].flatMap { Int($0) } ?? 60_000

  /// Drives a cluster by one random event and keeps the model in step with the answers.
  struct Walk: ~Copyable {
    var cluster: ModelCluster
    var generator: SeededGenerator
    /// A digest of every action.
    var digest: UInt64 = 0
    var failure: String?
    private var checks = 0
    /// Requests for the pool of even nodes that have no answer yet.
    private var pooled: Set<UInt64> = []

    init(_ policy: Policy, seed: UInt64) {
      var parameters = DispatcherParameters(policy: policy, tableCapacity: 500, queueCapacity: 50)
      parameters.slowStart = 2_000_000_000
      parameters.queueDeadline = 50_000_000
      parameters.affinityCapacity = 64
      parameters.assignmentLifetime = 1_000_000_000_000_000
      cluster = ModelCluster(parameters)
      generator = SeededGenerator(seed: seed)
      for index in 0..<8 {
        cluster.addNode(
          weight: index == 7 ? 250 : 100, hardMaximum: index == 6 ? 40 : 200, pools: index % 2 == 0 ? ["even"] : [])
      }
      cluster.actions.removeAll(keepingCapacity: true)
    }

    mutating func step() {
      cluster.now += UInt64(generator.pick(2_000_000))
      let index = generator.pick(cluster.nodes.count)
      var excluded: BackEndID?
      switch generator.pick(1000) {
      case 0..<470:
        // Skewed targets: a few hot ones, many cold ones.
        let target = UInt64(generator.pick(generator.pick(3) == 0 ? 5000 : 20))
        if generator.pick(50) == 0 { excluded = BackEndID(UInt16(generator.pick(10))) }
        let route = self.route()
        if route.pool != .every { pooled.insert(cluster.nextRequestID) }
        _ = cluster.request(target: target, route: route, excluded: excluded)
      case 470..<930:
        // Arrivals and ends at a node, then its report.
        let arrived = UInt32(generator.pick(Int(cluster.nodes[index].arriving) + 1))
        cluster.nodes[index].arriving -= arrived
        cluster.nodes[index].active += arrived
        let ended = UInt32(generator.pick(Int(min(8, cluster.nodes[index].active)) + 1))
        cluster.nodes[index].active -= ended
        cluster.nodes[index].ended += ended
        if cluster.nodes[index].isConnected { cluster.report(index) }
      case 930..<960:
        if cluster.nodes[index].arriving > 0 {
          cluster.nodes[index].arriving -= 1
          cluster.send(.returned(BackEndID(UInt16(index))))
        }
      case 960..<970:
        if cluster.nodes[index].isConnected {
          cluster.nodes[index].state = BackEndState.allCases[generator.pick(3)]
          cluster.report(index)
        }
      case 970..<980:
        if !cluster.nodes[index].isConnected { cluster.rejoin(index) } else { up(index) }
      case 980..<983:
        if cluster.nodes[index].isConnected { cluster.lose(index) }
      default: cluster.send(.tick)
      }
      check(excluded)
    }

    /// Most requests meet no rule; some stick, some have a pool, some both.
    private mutating func route() -> Route {
      let pool = generator.pick(12) == 0 ? PoolID("even") : .every
      guard generator.pick(8) == 0 else { return Route(pool: pool) }
      let key = SeededGenerator.mix(UInt64(generator.pick(200)))
      return Route(
        pool: pool,
        affinity: Affinity(key: key, seed: generator.pick(2) == 0 ? 0 : 77, lifetime: 1 + UInt32(generator.pick(3))))
    }

    private mutating func up(_ index: Int) {
      cluster.nodes[index].state = .up
      cluster.report(index)
    }

    private mutating func check(_ excluded: BackEndID?) {
      if cluster.state.table.count > cluster.state.table.capacity { failure = "table above its bound" }
      if cluster.state.affinities.count > cluster.state.affinities.capacity { failure = "ties above their bound" }
      defer { cluster.actions.removeAll(keepingCapacity: true) }
      for action in cluster.actions {
        guard case .answer(_, let decision) = action else { continue }
        digest = SeededGenerator.mix(digest ^ decision.id)
        let isPooled = pooled.remove(decision.id) != nil
        guard case .assigned(let id) = decision.outcome else { continue }
        digest = SeededGenerator.mix(digest ^ UInt64(id.rawValue))
        let index = Int(id.rawValue)
        guard index < cluster.nodes.count else {
          failure = "unknown node \(index)"
          return
        }
        if !cluster.nodes[index].isConnected { failure = "assigned to a dead node" }
        if cluster.nodes[index].state != .up { failure = "assigned to a \(cluster.nodes[index].state) node" }
        if isPooled, index % 2 != 0 { failure = "assigned to node \(index), which is not in the pool" }
        if id == excluded { failure = "assigned to the excluded node" }
        cluster.nodes[index].arriving += 1
        let load = cluster.nodes[index].arriving + cluster.nodes[index].active
        if load > cluster.nodes[index].hardMaximum { failure = "node \(index) above its hard maximum: \(load)" }
      }
      checks += 1
      guard checks % 16 == 0 else { return }
      for index in cluster.nodes.indices where cluster.nodes[index].isConnected {
        let load = cluster.nodes[index].arriving + cluster.nodes[index].active
        let booked = cluster.state.loads.connections(index)
        if load != booked { failure = "node \(index) has \(load) connections, the book says \(booked)" }
      }
    }

    var sumsAgree: Bool {
      let counters = cluster.state.counters
      return counters.requests
        == counters.assignedTotal + counters.noBackEnd + counters.overloadedByFullQueue
        + counters.overloadedByDeadline + counters.abandoned + UInt64(cluster.state.queuedRequests)
    }
  }

  @Test("hard maximum, states, exclusions, sums and the table's bound hold", arguments: PolicyName.allCases)
  func invariants(_ name: PolicyName) {
    let seed: UInt64 = 0xc0ffee
    var walk = Walk(Policy(name), seed: seed)
    for step in 0..<RandomEventTests.events {
      walk.step()
      if let failure = walk.failure {
        Issue.record("seed \(seed), step \(step): \(failure)")
        return
      }
      guard step % 50_000 == 0 else { continue }
      var sets = 0
      walk.cluster.state.table.forEach { _, mapping in if mapping.replicas.isEmpty { sets += 1 } }
      #expect(sets == 0, "seed \(seed), step \(step): empty sets")
      let sumsAgree = walk.sumsAgree
      #expect(sumsAgree, "seed \(seed), step \(step): \(walk.cluster.state.counters)")
      let total = walk.cluster.state.loads.eligible.members.reduce(UInt64(0)) {
        $0 + UInt64(walk.cluster.state.loads.connections(Int($1.rawValue)))
      }
      #expect(total == walk.cluster.state.loads.total, "seed \(seed), step \(step): total of loads")
    }
    let sumsAgree = walk.sumsAgree
    #expect(sumsAgree)
    let counters = walk.cluster.state.counters
    #expect(counters.assignedTotal > UInt64(RandomEventTests.events / 20), "the walk must do something: \(counters)")
    #expect(counters.noBackEnd > 0 || counters.overloadedByDeadline > 0)
    #expect(counters[.sticky] > UInt64(RandomEventTests.events / 200), "ties must hold now and then: \(counters)")
  }

  @Test("the same events give the same decisions", arguments: PolicyName.allCases)
  func determinism(_ name: PolicyName) {
    var first = Walk(Policy(name), seed: 5)
    var second = Walk(Policy(name), seed: 5)
    for _ in 0..<10_000 {
      first.step()
      second.step()
    }
    #expect(first.digest == second.digest && first.digest != 0)
    #expect(first.cluster.state.counters == second.cluster.state.counters)
  }

  @Test("with S held, balance is always possible, and LARD keeps it", arguments: [PolicyName.lard, .replicatedLARD])
  func admissionProperty(_ name: PolicyName) {
    let seed: UInt64 = 77
    var generator = SeededGenerator(seed: seed)
    var cluster = ModelCluster.with(Policy(name), nodes: 4, admission: .thresholds)
    var highest: UInt32 = 0
    for step in 0..<30_000 {
      let phase = (step / 5000) % 2
      let chosen = cluster.connect(target: UInt64(phase == 0 ? generator.pick(3) : generator.pick(300)))
      let loads = cluster.nodes.map(\.active)
      let total = loads.reduce(0, +)
      #expect(total <= 219, "seed \(seed), step \(step): \(loads)")
      // While nobody is below T_low, at most n - 2 nodes are at T_high.
      if loads.allSatisfy({ $0 >= 25 }) {
        #expect(loads.count { $0 >= 65 } <= 2, "seed \(seed), step \(step): \(loads)")
      }
      // While somebody is below T_low, nobody is given more than one connection above T_high.
      if let chosen {
        highest = max(highest, loads[chosen])
        if loads.contains(where: { $0 < 25 }) { #expect(loads[chosen] <= 66, "seed \(seed), step \(step): \(loads)") }
      }
      cluster.actions.removeAll(keepingCapacity: true)
      let busy = cluster.nodes.indices.filter { cluster.nodes[$0].active > 0 }
      if chosen == nil || generator.pick(10) < 9, !busy.isEmpty {
        cluster.end(busy[generator.pick(busy.count)])
        // Whoever waited got the place.
        for case .answer(_, let decision) in cluster.actions {
          if case .assigned(let id) = decision.outcome { cluster.nodes[Int(id.rawValue)].active += 1 }
        }
        cluster.actions.removeAll(keepingCapacity: true)
      }
    }
    #expect(highest >= 65, "the walk must reach T_high")
  }
}
