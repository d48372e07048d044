// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DispatcherCore
import Rules
import Testing

@Suite("Affinity")
struct AffinityTests {
  private func cluster(nodes: Int = 4, capacity: Int = 1000, hardMaximum: UInt32 = 100_000) -> ModelCluster {
    var cluster = ModelCluster(
      DispatcherParameters(
        policy: Policy(.lard), tableCapacity: 1000, admission: .unlimited, slowStart: 0, affinityCapacity: capacity))
    for _ in 0..<nodes { cluster.addNode(hardMaximum: hardMaximum) }
    return cluster
  }

  private func node(_ outcome: Decision.Outcome?) -> Int? {
    guard case .assigned(let id) = outcome else { return nil }
    return Int(id.rawValue)
  }

  private func sticky(_ key: UInt64, seed: UInt64 = 0, lifetime: UInt32 = 60) -> Route {
    Route(affinity: Affinity(key: SeededGenerator.mix(key), seed: seed, lifetime: lifetime))
  }

  @Test("requests of one key stay together whatever they ask for, and apart from others by the policy")
  func together() {
    var cluster = cluster()
    var used: Set<Int> = []
    for key in 1...40 as ClosedRange<UInt64> {
      let first = node(cluster.request(target: key, route: sticky(key)))
      for target in 100..<110 as Range<UInt64> {
        #expect(node(cluster.request(target: target, route: sticky(key))) == first)
      }
      if let first { used.insert(first) }
      for index in cluster.nodes.indices { cluster.setLoad(index, 0) }
    }
    #expect(used.count == 4)
    #expect(cluster.state.counters[.sticky] == 400)
  }

  @Test("load does not move a tie")
  func load() {
    var cluster = cluster(hardMaximum: 1000)
    let first = node(cluster.request(target: 1, route: sticky(7))) ?? -1
    cluster.setLoad(first, 400)
    #expect(node(cluster.request(target: 2, route: sticky(7))) == first)
    #expect(node(cluster.request(target: 1)) != first, "without a tie LARD moves the target")
  }

  @Test("a tie lives for its lifetime after the last request")
  func lifetime() {
    var cluster = cluster()
    let first = node(cluster.request(target: 1, route: sticky(7, lifetime: 10))) ?? -1
    // Each request renews it.
    for _ in 0..<5 {
      cluster.now += 9_000_000_000
      #expect(node(cluster.request(target: 9, route: sticky(7, lifetime: 10))) == first)
    }
    let sticky = cluster.state.counters[.sticky]
    cluster.now += 10_100_000_000
    _ = cluster.request(target: 9, route: self.sticky(7, lifetime: 10))
    #expect(cluster.state.counters[.sticky] == sticky, "over: the policy decides")
  }

  @Test("a tie moves when its node goes, and does not move back", arguments: [BackEndState.down, .draining])
  func nodeGone(_ state: BackEndState) {
    var cluster = cluster()
    let first = node(cluster.request(target: 1, route: sticky(7))) ?? -1
    cluster.nodes[first].state = state
    cluster.report(first)
    let second = node(cluster.request(target: 1, route: sticky(7)))
    #expect(second != nil && second != first)
    cluster.nodes[first].state = .up
    cluster.report(first)
    #expect(node(cluster.request(target: 1, route: sticky(7))) == second)
  }

  @Test("a node that is full, or refused this request, keeps its tie")
  func rests() {
    var cluster = cluster(hardMaximum: 10)
    let first = node(cluster.request(target: 1, route: sticky(7))) ?? -1
    cluster.setLoad(first, 10)
    #expect(node(cluster.request(target: 1, route: sticky(7))) != first)
    cluster.setLoad(first, 0)
    #expect(node(cluster.request(target: 1, route: sticky(7))) == first)
    let other = node(
      cluster.request(target: 1, route: sticky(7), excluded: BackEndID(UInt16(first))))
    #expect(other != nil && other != first)
    #expect(node(cluster.request(target: 1, route: sticky(7))) == first)
  }

  @Test("a new cookie joins the node of its client")
  func seed() {
    var cluster = cluster()
    let client: UInt64 = 0x1234
    let first =
      node(
        cluster.request(target: 1, route: Route(affinity: Affinity(key: client, lifetime: 60)))) ?? -1
    // Load would send anything else elsewhere.
    cluster.setLoad(first, 90)
    #expect(node(cluster.request(target: 2, route: sticky(8, seed: client))) == first)
    // From now on the cookie counts by itself: the client may come from another address.
    #expect(node(cluster.request(target: 3, route: sticky(8, seed: 0x9999))) == first)
    // A cookie that is known does not move its client.
    cluster.lose(first)
    let moved = node(cluster.request(target: 3, route: sticky(8, seed: client)))
    #expect(moved != nil && moved != first)
  }

  @Test("ties of a pool stay in it")
  func pool() {
    var cluster = cluster(nodes: 0)
    for index in 0..<4 { cluster.addNode(pools: index < 2 ? ["a"] : []) }
    var route = sticky(3)
    // The rules now name a pool that the tied node is not in.
    _ = cluster.request(target: 1, route: route)
    for index in 2..<4 { cluster.setLoad(index, 0) }
    route.pool = PoolID("a")
    for target in 0..<20 as Range<UInt64> {
      #expect((0..<2).contains(node(cluster.request(target: target, route: route)) ?? -1))
    }
  }

  @Test("the table keeps its bound and gives up who would leave first")
  func bound() {
    var cluster = cluster(nodes: 2, capacity: 64)
    cluster.send(.tick)
    for key in 0..<10_000 as Range<UInt64> {
      cluster.now += 20_000_000
      _ = cluster.request(target: key % 7, route: sticky(key, lifetime: 3600))
      if key % 50 == 0 { for index in cluster.nodes.indices { cluster.setLoad(index, 0) } }
    }
    let table = cluster.state.affinities
    #expect(table.count == table.capacity && table.capacity == 64)
    #expect(table.evictions == 10_000 - 64)
    #expect(table.storageBytes <= 16 * 64 + 64)
    let before = cluster.state.counters[.sticky]
    for key in 9_995..<10_000 as Range<UInt64> { _ = cluster.request(target: 1, route: sticky(key)) }
    #expect(cluster.state.counters[.sticky] == before + 5, "the latest are there")
  }

  @Test("a number that another node gets brings no ties with it")
  func reusedNumber() {
    var cluster = cluster(nodes: 64)
    let keys = 0..<200 as Range<UInt64>
    var tied: [UInt64: Int] = [:]
    for key in keys { tied[key] = node(cluster.request(target: key, route: sticky(key))) }
    let victim = tied[0] ?? -1
    cluster.lose(victim)
    cluster.addNode()
    #expect(cluster.state.view.backEnds[victim].name == "node-64")
    let before = cluster.state.counters[.sticky]
    _ = cluster.request(target: 500, route: sticky(0))
    #expect(cluster.state.counters[.sticky] == before)
  }
}
