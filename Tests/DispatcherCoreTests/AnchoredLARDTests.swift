// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DispatcherCore
import Testing

@Suite("Anchored LARD")
struct AnchoredLARDTests {
  private static func replicas(_ cluster: borrowing ModelCluster, _ target: UInt64) -> [Int] {
    (cluster.state.table[SeededGenerator.mix(target)]?.replicas.members ?? []).map { Int($0.rawValue) }
  }

  /// The order in which a target's set grows when every node that has it is overloaded.
  private static func order(of target: UInt64, nodes: Int) -> [Int] {
    var cluster = ModelCluster.with(Policy(.anchoredLARD), nodes: nodes)
    var order: [Int] = []
    for _ in 0..<nodes {
      guard let node = cluster.connect(target: target) else { break }
      order.append(node)
      for index in 0..<nodes { cluster.setLoad(index, order.contains(index) ? 200 : 10) }
    }
    return order
  }

  @Test("a set grows in an order of the target's own, which a new dispatcher finds again")
  func order() {
    var orders: Set<[Int]> = []
    for target in 0..<20 as Range<UInt64> {
      let order = AnchoredLARDTests.order(of: target, nodes: 4)
      #expect(Set(order) == [0, 1, 2, 3], "target \(target)")
      #expect(order == AnchoredLARDTests.order(of: target, nodes: 4))
      orders.insert(order)
    }
    #expect(orders.count > 8, "targets have different orders")
  }

  @Test("a new target goes to a node below the average")
  func belowAverage() {
    var cluster = ModelCluster.with(Policy(.anchoredLARD), nodes: 4)
    for index in 0..<4 { cluster.setLoad(index, index < 2 ? 60 : 20) }
    for target in 0..<40 as Range<UInt64> {
      let node = cluster.connect(target: target) ?? -1
      #expect(node >= 2, "target \(target)")
      cluster.end(node)
    }
  }

  @Test("a node takes over from an overloaded one only when it is a tenth below the average")
  func room() {
    for target in 0..<40 as Range<UInt64> {
      var cluster = ModelCluster.with(Policy(.anchoredLARD), nodes: 4)
      let first = cluster.connect(target: target) ?? 0
      let light = (first + 1) % 4
      // The average is 117.5, so that 115 is below it and has no room.
      for index in 0..<4 { cluster.setLoad(index, index == first ? 200 : index == light ? 40 : 115) }
      #expect(cluster.connect(target: target) == light, "target \(target)")
      #expect(cluster.state.counters[.replicated] == 1, "target \(target)")
    }
  }

  @Test("without overload a target keeps its node; a decayed set gets the same node back")
  func decayAndReturn() {
    var cluster = ModelCluster.with(Policy(.anchoredLARD), nodes: 4)
    let first = cluster.connect(target: 1) ?? -1
    for index in 0..<4 { cluster.setLoad(index, index == first ? 200 : 10) }
    let second = cluster.connect(target: 1) ?? -1
    #expect(second != first)
    #expect(Set(AnchoredLARDTests.replicas(cluster, 1)) == [first, second])
    // Calm for K: the most loaded node leaves the set.
    cluster.setLoad(first, 30)
    cluster.setLoad(second, 40)
    cluster.now += 21_000_000_000
    #expect(cluster.connect(target: 1) == first)
    #expect(AnchoredLARDTests.replicas(cluster, 1) == [first])
    for index in 0..<4 { cluster.setLoad(index, index == first ? 200 : 10) }
    #expect(cluster.connect(target: 1) == second)
  }

  @Test("a node that dies leaves the set; a target without a node begins anew at its next in order")
  func death() {
    let order = AnchoredLARDTests.order(of: 5, nodes: 3)
    var cluster = ModelCluster.with(Policy(.anchoredLARD), nodes: 3)
    #expect(cluster.connect(target: 5) == order[0])
    for index in 0..<3 { cluster.setLoad(index, 10) }
    cluster.lose(order[0])
    #expect(cluster.connect(target: 5) == order[1])
    #expect(cluster.state.counters[.orphaned] == 1)
    cluster.rejoin(order[0])
    for index in 0..<3 { cluster.setLoad(index, 10) }
    #expect(cluster.connect(target: 5) == order[1], "it stays where its cache is warm")
  }
}
