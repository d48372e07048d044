// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DispatcherCore
import Testing

@Suite("Extended LARD")
struct ExtendedLARDTests {
  struct Case: Sendable, CustomStringConvertible {
    var description: String
    /// Loads of the node with the target, and of the other.
    var loads: [UInt32]
    var moves: Bool
  }

  /// Cost of the owner: load - 30 + 1; of an idle other: 50; of a busy other: load - 30 + 100.
  static let cases = [
    Case(description: "equal to an idle node", loads: [79, 0], moves: false),
    Case(description: "dearer than an idle node", loads: [80, 0], moves: true),
    Case(description: "dearer than a busy node", loads: [129, 29], moves: true),
    Case(description: "cheaper than a busy node", loads: [129, 31], moves: false),
    Case(description: "at L_overload", loads: [130, 129], moves: true),
    Case(description: "everybody at L_overload", loads: [130, 131], moves: false),
  ]

  @Test("the cheapest node is chosen", arguments: cases)
  func costs(_ example: Case) {
    var cluster = ModelCluster.with(Policy(.extendedLARD), nodes: 2)
    cluster.setLoad(1, 1)
    #expect(cluster.connect(target: 1) == 0)
    for index in 0..<2 { cluster.setLoad(index, example.loads[index]) }
    #expect((cluster.connect(target: 1) == 1) == example.moves)
  }

  @Test("later requests: at home when cached or the disk is idle, else from a caching node at 1/N")
  func laterRequests() {
    var cluster = ModelCluster.with(Policy(.extendedLARD), nodes: 3)
    cluster.setLoad(1, 1)
    cluster.setLoad(2, 1)
    #expect(cluster.connect(target: 1) == 0)
    let home = BackEndID(1)
    let key = SeededGenerator.mix(1)

    func place(_ cluster: inout ModelCluster) -> (backEnd: BackEndID, charge: DispatcherState.BatchCharge?) {
      cluster.state.placeLater(target: key, handling: home, batchSize: 4, now: cluster.now)
    }
    func disk(_ queue: UInt32, _ cluster: inout ModelCluster) {
      cluster.send(
        .report(cluster.nodes[1].peer, LoadReport(ended: 0, active: 40, state: .up), diskQueue: queue))
    }
    // Busy disk at home, cached at node 0: fetched from there, and charged a quarter of a connection.
    disk(5, &cluster)
    let before = cluster.state.loads.relativeLoad(0).connections
    let fetched = place(&cluster)
    #expect(fetched.backEnd == BackEndID(0))
    #expect(cluster.state.loads.relativeLoad(0).connections == before + 0.25)
    if let charge = fetched.charge { cluster.state.endBatch(charge) }
    #expect(cluster.state.loads.relativeLoad(0).connections == before)
    // A thrashing cache is not counted as holding it.
    #expect(cluster.state.table[key]?.replicas.members == [BackEndID(0)])
    // Idle disk: served and cached at home.
    disk(4, &cluster)
    #expect(place(&cluster).backEnd == home)
    #expect(cluster.state.table[key]?.replicas.members == [BackEndID(0), home])
    // Now cached at home, whatever the disk does.
    disk(50, &cluster)
    #expect(place(&cluster).backEnd == home)
    #expect(cluster.state.counters[.forwarded] == 1 && cluster.state.counters[.local] == 2)
    #expect(cluster.state.counters.assignedTotal == 1)
  }
}
