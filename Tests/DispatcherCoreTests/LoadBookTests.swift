// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DispatcherCore
import Testing
import Wire

@Suite("Load book, admission and membership")
struct LoadBookTests {
  @Test("assigned, reported, ended, returned")
  func lifeOfConnections() {
    var cluster = ModelCluster.with(Policy(.lard), nodes: 1)
    for target in 0..<5 { #expect(cluster.request(target: UInt64(target)) != nil) }
    #expect(cluster.state.loads.connections(0) == 5 && cluster.state.loads.inFlight(0) == 5)
    // Three arrive, one of them ends: two are open and two on their way.
    cluster.nodes[0].active = 2
    cluster.nodes[0].ended = 1
    cluster.report(0)
    #expect(cluster.state.loads.connections(0) == 4 && cluster.state.loads.inFlight(0) == 2)
    cluster.send(.returned(BackEndID(0)))
    #expect(cluster.state.loads.connections(0) == 3)
    cluster.send(.returned(BackEndID(0)))
    cluster.send(.returned(BackEndID(0)))
    cluster.send(.returned(BackEndID(63)))
    cluster.send(.returned(BackEndID(64_000)))
    #expect(cluster.state.loads.connections(0) == 2)
    #expect(cluster.state.counters.returned == 2 && cluster.state.counters.returnedUnknown == 3)
  }

  @Test("a lost and a duplicated report are repaired by the next")
  func resynchronisation() {
    var cluster = ModelCluster.with(Policy(.lard), nodes: 1)
    for target in 0..<10 { _ = cluster.request(target: UInt64(target)) }
    let peer = cluster.nodes[0].peer
    let first = LoadReport(ended: 2, active: 6, state: .up)
    cluster.send(.report(peer, first))
    cluster.send(.report(peer, first))
    // The report of two further arrivals is lost; one more ends.
    cluster.send(.report(peer, LoadReport(ended: 1, active: 7, state: .up)))
    #expect(cluster.state.loads.connections(0) == 7)
    #expect(cluster.state.loads.inFlight(0) == 0)
  }

  @Test("assignments that nobody reports are forgotten after their lifetime")
  func forgotten() {
    var cluster = ModelCluster.with(Policy(.lard), nodes: 1)
    for target in 0..<4 { _ = cluster.request(target: UInt64(target)) }
    cluster.now += 9_000_000_000
    cluster.send(.tick)
    #expect(cluster.state.loads.connections(0) == 4)
    while let deadline = cluster.state.nextDeadline, cluster.now < 60_000_000_000 {
      cluster.now = max(deadline, cluster.now + 1)
      cluster.send(.tick)
    }
    #expect(cluster.state.loads.connections(0) == 0 && cluster.state.loads.forgotten == 4)
    #expect(cluster.now < 25_000_000_000)
    #expect(cluster.state.loads.total == 0)
  }

  @Test("a dead node's load disappears; the same process on a new connection keeps it")
  func deathAndReconnect() {
    var cluster = ModelCluster.with(Policy(.lard), nodes: 2)
    cluster.setLoad(0, 10)
    cluster.setLoad(1, 20)
    cluster.lose(1)
    #expect(cluster.state.loads.total == 10 && cluster.state.loads.connections(1) == 0)
    #expect(cluster.state.view.backEnds.map(\.state) == [.up, .down])
    let newPeer = PeerID(77)
    let dismissed = cluster.send(
      .registerBackEnd(newPeer, name: "node-0", instance: 1, ModelCluster.registration(0)))
    #expect(dismissed.contains(.dismiss(cluster.nodes[0].peer, .replaced("node-0"))))
    #expect(cluster.state.loads.connections(0) == 10)
    // The old connection's end no longer counts.
    cluster.send(.lost(cluster.nodes[0].peer))
    #expect(cluster.state.view.backEnds[0].state == .up)
  }

  @Test("a name belongs to the live node; a silent one loses it")
  func nameTakeover() {
    var cluster = ModelCluster.with(Policy(.lard), nodes: 1)
    let intruder = PeerID(99)
    let registration = ModelCluster.registration(5)
    #expect(
      cluster.send(.registerBackEnd(intruder, name: "node-0", instance: 2, registration))
        == [.dismiss(intruder, .nameTaken("node-0"))])
    cluster.now += 900_000_000
    cluster.send(.heard(cluster.nodes[0].peer))
    cluster.now += 900_000_000
    #expect(
      cluster.send(.registerBackEnd(intruder, name: "node-0", instance: 2, registration))
        == [.dismiss(intruder, .nameTaken("node-0"))])
    cluster.now += 200_000_000
    let actions = cluster.send(.registerBackEnd(intruder, name: "node-0", instance: 2, registration))
    #expect(actions.contains(.dismiss(cluster.nodes[0].peer, .replaced("node-0"))))
    #expect(cluster.state.view.backEnds.count == 1 && cluster.state.view.backEnds[0].instance == 2)
  }

  @Test("64 numbers; then the node that is away longest gives its number up")
  func numbers() {
    var cluster = ModelCluster.with(Policy(.lard), nodes: 64)
    let newcomer = PeerID(1234)
    #expect(
      cluster.send(.registerBackEnd(newcomer, name: "late", instance: 1, ModelCluster.registration(1)))
        == [.dismiss(newcomer, .tooManyBackEnds)])
    cluster.lose(9)
    cluster.now += 1
    cluster.lose(3)
    cluster.send(.registerBackEnd(newcomer, name: "late", instance: 1, ModelCluster.registration(1)))
    #expect(cluster.state.view.backEnds[9].name == "late" && cluster.state.view.backEnds[9].state == .down)
    cluster.send(.report(newcomer, LoadReport(ended: 0, active: 0, state: .up)))
    #expect(cluster.state.view.backEnds[9].state == .up)
  }

  @Test("a restarted dispatcher assigns nothing to a node before it knows the node's load, which is right at once then")
  func firstReport() {
    var cluster = ModelCluster.with(Policy(.lard), nodes: 0)
    let peer = PeerID(5)
    cluster.send(.registerBackEnd(peer, name: "busy", instance: 1, ModelCluster.registration(0)))
    #expect(cluster.request(target: 1) == .noBackEnd)
    cluster.send(.report(peer, LoadReport(ended: 0, active: 33, state: .up)))
    #expect(cluster.state.loads.total == 33)
    #expect(cluster.request(target: 1) == .assigned(BackEndID(0)))
    #expect(cluster.state.loads.total == 34)
    // The connection arrives, and one ends.
    cluster.send(.report(peer, LoadReport(ended: 1, active: 33, state: .up)))
    #expect(cluster.state.loads.total == 33 && cluster.state.loads.inFlight(0) == 0)
  }

  @Test("admission limit", arguments: [(1, 130), (2, 89), (4, 219), (8, 479), (16, 999)])
  func admissionLimit(nodes: Int, limit: Int) {
    let cluster = ModelCluster.with(Policy(.lard), nodes: nodes, admission: .thresholds)
    #expect(cluster.state.admissionLimit == UInt64(limit))
  }

  @Test("beyond the limit requests wait, are served in order, expire, or are turned away")
  func queue() {
    var parameters = DispatcherParameters(policy: Policy(.lard), tableCapacity: 100, admission: .fixed(2), slowStart: 0)
    parameters.queueCapacity = 3
    parameters.queueDeadline = 1_000
    var cluster = ModelCluster(parameters)
    cluster.addNode()
    cluster.connect(target: 1)
    cluster.connect(target: 2)
    #expect(cluster.request(target: 3) == nil)
    cluster.now += 500
    #expect(cluster.request(target: 4) == nil)
    #expect(cluster.request(target: 5) == nil)
    #expect(cluster.request(target: 6) == .overloaded)
    cluster.end(0)
    #expect(cluster.state.queuedRequests == 2, "one place, one served")
    cluster.now += 500
    cluster.send(.tick)
    #expect(cluster.state.queuedRequests == 2, "the oldest was served, so nobody's time is over")
    cluster.now += 500
    cluster.send(.tick)
    #expect(cluster.state.queuedRequests == 0)
    let counters = cluster.state.counters
    #expect(counters.requests == 6 && counters.assignedTotal == 3)
    #expect(counters.overloadedByFullQueue == 1 && counters.overloadedByDeadline == 2 && counters.enqueued == 3)
    #expect(cluster.request(target: 7) == nil)
    cluster.send(.lost(cluster.distributor))
    #expect(cluster.state.counters.abandoned == 1 && cluster.state.queuedRequests == 0)
  }

  @Test("a node that joins a running cluster warms up; one of a starting cluster does not")
  func slowStart() {
    var cluster = ModelCluster(
      DispatcherParameters(policy: Policy(.leastConnections), admission: .unlimited, slowStart: 16_000_000_000))
    for _ in 0..<2 { cluster.addNode() }
    for target in 0..<20 { cluster.connect(target: UInt64(target)) }
    #expect(cluster.nodes.map(\.active) == [10, 10])
    cluster.now += 20_000_000_000
    cluster.addNode()
    for target in 0..<10 { cluster.connect(target: UInt64(target)) }
    #expect(cluster.nodes[2].active <= 2, "a sixteenth of its weight")
    while let deadline = cluster.state.nextDeadline {
      cluster.now = deadline
      cluster.send(.tick)
      if cluster.now > 40_000_000_000 { break }
    }
    for target in 0..<30 { cluster.connect(target: UInt64(target)) }
    #expect(cluster.nodes.map(\.active) == [20, 20, 20])
  }

  @Test("services of all distributors, sorted and once; gone with their distributor")
  func services() {
    var cluster = ModelCluster.with(Policy(.lard), nodes: 0)
    let a = ModelCluster.registration(1).address
    let b = ModelCluster.registration(2).address
    cluster.send(.registerDistributor(PeerID(1), .init(services: [.init(b, 80), .init(a, 80)])))
    cluster.send(.registerDistributor(PeerID(2), .init(services: [.init(b, 80), .init(b, 443)])))
    #expect(cluster.state.view.services == [.init(a, 80), .init(b, 80), .init(b, 443)])
    cluster.send(.lost(PeerID(1)))
    #expect(cluster.state.view.services == [.init(b, 80), .init(b, 443)])
    #expect(cluster.state.view.epoch == 3)
  }
}
