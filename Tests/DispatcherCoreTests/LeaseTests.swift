// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DispatcherCore
import Rules
import Testing

@Suite("Leases of decisions")
struct LeaseTests {
  static let peer = PeerID(1_000_000)

  static func cluster(
    _ policy: Policy = Policy(.lard), nodes: Int = 2, credits: UInt16 = 32, admission: Admission = .unlimited,
    hardMaximum: UInt32 = 1000, time: UInt64 = 1_000_000_000
  ) -> ModelCluster {
    var cluster = ModelCluster(
      DispatcherParameters(
        policy: policy, tableCapacity: 100, admission: admission, slowStart: 0,
        leases: LeaseTerms(credits: credits, time: time)))
    for _ in 0..<nodes { cluster.addNode(hardMaximum: hardMaximum) }
    cluster.send(.registerDistributor(peer, DistributorRegistration(services: [])))
    return cluster
  }

  /// Asks, lets the connection arrive and end at once, and gives the decision.
  static func ask(
    _ cluster: inout ModelCluster, _ target: UInt64, from peer: PeerID = peer, route: Route = Route(),
    excluded: BackEndID? = nil
  ) -> Decision? {
    let answers = cluster.send(
      .request(peer, DecisionRequest(id: 1, target: SeededGenerator.mix(target), route: route, excluded: excluded)))
    guard case .answer(_, let decision) = answers.first else { return nil }
    if case .assigned(let id) = decision.outcome {
      cluster.nodes[Int(id.rawValue)].ended += 1
      cluster.report(Int(id.rawValue))
    }
    return decision
  }

  /// Asks at most twice; the first lease with credits.
  static func lease(
    _ cluster: inout ModelCluster, _ target: UInt64, from peer: PeerID = peer
  ) -> (BackEndID, Lease)? {
    for _ in 0..<2 {
      guard let decision = ask(&cluster, target, from: peer), case .assigned(let id) = decision.outcome else {
        continue
      }
      if let lease = decision.lease, lease.credits > 0 { return (id, lease) }
    }
    return nil
  }

  static func account(_ target: UInt64, _ lease: (BackEndID, Lease), used: UInt16, returned: UInt16) -> LeaseAccount {
    LeaseAccount(
      target: SeededGenerator.mix(target), pool: .every, backEnd: lease.0, term: lease.1.term, used: used,
      returned: returned)
  }

  @Test("a busy target gets leases where its policy places by target", arguments: PolicyName.allCases)
  func policies(_ name: PolicyName) {
    var cluster = LeaseTests.cluster(Policy(name))
    // For the bound of bounded-load hashing to leave room.
    cluster.setLoad(0, 20)
    cluster.setLoad(1, 20)
    let isLeased = LeaseTests.lease(&cluster, 1) != nil
    switch name {
    case .hash, .boundedLoadHash, .lard, .replicatedLARD, .anchoredLARD: #expect(isLeased)
    case .weightedRoundRobin, .leastConnections, .extendedLARD: #expect(!isLeased)
    }
  }

  @Test("other distributors hear of leases where all go by one node for a target", arguments: PolicyName.allCases)
  func spreading(_ name: PolicyName) {
    var cluster = LeaseTests.cluster(Policy(name))
    cluster.setLoad(0, 20)
    cluster.setLoad(1, 20)
    func told(_ request: DecisionRequest) -> [TargetLease] {
      let actions = cluster.send(.request(LeaseTests.peer, request))
      var leased: [TargetLease] = []
      for action in actions {
        if case .answer(_, let decision) = action, case .assigned(let backEnd) = decision.outcome,
          let lease = decision.lease
        {
          leased.append(TargetLease(target: request.target, backEnd: backEnd, milliseconds: lease.milliseconds))
        }
      }
      let spread = actions.compactMap { action -> TargetLease? in
        guard case .spread(LeaseTests.peer, let lease) = action else { return nil }
        return lease
      }
      #expect(spread.isEmpty || spread == leased)
      return spread
    }
    let isForAll = [.hash, .boundedLoadHash, .lard].contains(name)
    #expect(told(DecisionRequest(id: 1, target: 5)).count == (isForAll ? 1 : 0))
    // What they could not go by.
    #expect(told(DecisionRequest(id: 2, target: 6, excluded: BackEndID(0))).isEmpty)
    #expect(told(DecisionRequest(id: 3, target: 7, route: Route(affinity: Affinity(key: 1, lifetime: 9)))).isEmpty)
  }

  @Test("a target's node is remembered for a shorter time where replica sets shrink")
  func times() throws {
    for (name, milliseconds) in [
      (PolicyName.lard, 60_000), (.hash, 60_000), (.replicatedLARD, 20_000), (.anchoredLARD, 20_000),
    ] {
      var cluster = LeaseTests.cluster(Policy(name), time: 60_000_000_000)
      let (_, lease) = try #require(LeaseTests.lease(&cluster, 1))
      #expect(Int(lease.milliseconds) == milliseconds, "\(name)")
    }
  }

  @Test("what gets none")
  func without() {
    var off = LeaseTests.cluster(credits: 0)
    #expect(LeaseTests.lease(&off, 1) == nil)
    var cluster = LeaseTests.cluster()
    #expect(LeaseTests.ask(&cluster, 1)?.lease != nil)
    let sticky = Route(affinity: Affinity(key: 1, lifetime: 10))
    #expect(LeaseTests.ask(&cluster, 1, route: sticky)?.lease == nil)
    #expect(LeaseTests.ask(&cluster, 1, excluded: BackEndID(1))?.lease == nil)
    #expect(LeaseTests.ask(&cluster, 1, from: PeerID(5))?.lease == nil, "no registered distributor")
    #expect(LeaseTests.ask(&cluster, 1)?.lease != nil)
  }

  @Test("twice as many credits when all are used up, as many as were used when some come back")
  func size() throws {
    var cluster = LeaseTests.cluster(nodes: 1, credits: 8)
    func next(_ used: Double) throws -> UInt16 {
      let lease = try #require(LeaseTests.ask(&cluster, 1)?.lease)
      let count = UInt16(Double(lease.credits) * used)
      cluster.send(
        .leaseAccount(
          LeaseTests.peer, LeaseTests.account(1, (BackEndID(0), lease), used: count, returned: lease.credits - count)))
      cluster.nodes[0].ended += UInt32(count)
      cluster.report(0)
      return lease.credits
    }
    let growing = try [1.0, 1, 1, 1, 1].map { try next($0) }
    #expect(growing == [1, 2, 4, 8, 8])
    // A quarter of eight is used twice as much at the next turn, for it is used up.
    #expect(try next(0.25) == 8)
    #expect(try next(1) == 4)
    // While half is left, nothing is added.
    let lease = try #require(LeaseTests.ask(&cluster, 1)?.lease)
    #expect(lease.credits == 8)
    cluster.send(
      .leaseAccount(LeaseTests.peer, LeaseTests.account(1, (BackEndID(0), lease), used: 3, returned: 0)))
    #expect(LeaseTests.ask(&cluster, 1)?.lease?.credits == 0)
    cluster.send(
      .leaseAccount(LeaseTests.peer, LeaseTests.account(1, (BackEndID(0), lease), used: 1, returned: 0)))
    #expect(LeaseTests.ask(&cluster, 1)?.lease?.credits == 4)
  }

  @Test("credits take up room below twice T_high, the hard maximum and the admission limit; returned ones give it back")
  func room() throws {
    var cluster = LeaseTests.cluster(nodes: 1, admission: .fixed(12), hardMaximum: 10)
    var leases: [(PeerID, (BackEndID, Lease))] = []
    for index in UInt64(1)...12 {
      let peer = PeerID(100 + index)
      cluster.send(.registerDistributor(peer, DistributorRegistration(services: [])))
      if let lease = LeaseTests.lease(&cluster, 1, from: peer) { leases.append((peer, lease)) }
    }
    let held = cluster.state.loads.held(0)
    #expect(held >= 7 && held < 10, "\(held)")
    #expect(cluster.state.leases.outstanding == UInt64(held))
    // The rest of the room is for whoever asks.
    var assigned = 0
    while case .assigned = cluster.request(target: 99 + UInt64(assigned)) { assigned += 1 }
    #expect(assigned + Int(held) == 10 && cluster.state.queuedRequests == 1)
    let first = try #require(leases.first)
    cluster.send(.leaseAccount(first.0, LeaseTests.account(1, first.1, used: 0, returned: first.1.1.credits)))
    #expect(cluster.state.queuedRequests == 0, "the one who waited got the place")
    var busy = LeaseTests.cluster(nodes: 1)
    busy.setLoad(0, 129)
    #expect(LeaseTests.lease(&busy, 1) == nil, "at twice T_high")
    var slow = LeaseTests.cluster(nodes: 1, admission: .fixed(1))
    #expect(LeaseTests.lease(&slow, 1) == nil, "at the admission limit")
  }

  @Test(
    "a node whose policy moves targets away gives no credits, neither by decision nor to renew",
    arguments: [PolicyName.lard, .replicatedLARD, .anchoredLARD])
  func overloaded(_ name: PolicyName) throws {
    var cluster = LeaseTests.cluster(Policy(name))
    let lease = try #require(LeaseTests.lease(&cluster, 1))
    let (owner, other) = (Int(lease.0.rawValue), 1 - Int(lease.0.rawValue))
    func renewals() -> Int {
      cluster.send(
        .leaseAccount(LeaseTests.peer, LeaseTests.account(1, lease, used: 0, returned: .max)))
      return cluster.send(.leasesUsed(LeaseTests.peer, BackEndSet.index(owner))).count {
        if case .renew = $0 { true } else { false }
      }
    }
    cluster.setLoad(owner, 66)
    cluster.setLoad(other, 25)
    #expect(renewals() == 1, "nobody is idle, so targets stay")
    cluster.setLoad(other, 24)
    #expect(renewals() == 0)
    let decision = try #require(LeaseTests.ask(&cluster, 1))
    #expect(decision.outcome == .assigned(BackEndID(UInt16(other))), "and the target is moved")
  }

  @Test("used credits are connections, in whatever order node and distributor tell of them", arguments: [true, false])
  func orders(nodeFirst: Bool) throws {
    var cluster = LeaseTests.cluster(nodes: 1)
    let lease = try #require(LeaseTests.lease(&cluster, 1))
    let credits = UInt32(lease.1.credits)
    #expect(cluster.state.loads.connections(0) == 0 && cluster.state.loads.held(0) == credits)
    let uses = cluster.state.table.mostUsed(1)[0].uses
    cluster.nodes[0].active = credits
    if nodeFirst { cluster.report(0) }
    #expect(cluster.state.loads.occupied == UInt64(credits))
    cluster.send(
      .leaseAccount(LeaseTests.peer, LeaseTests.account(1, lease, used: lease.1.credits, returned: 0)))
    #expect(cluster.state.loads.connections(0) == credits && cluster.state.loads.held(0) == 0)
    #expect(cluster.state.loads.inFlight(0) == (nodeFirst ? 0 : credits))
    if !nodeFirst { cluster.report(0) }
    #expect(cluster.state.loads.connections(0) == credits && cluster.state.loads.inFlight(0) == 0)
    #expect(cluster.state.table.mostUsed(1)[0].uses == uses + credits, "popularity counts what was not asked")
  }

  @Test("credits vanish with their distributor and with their back-end; what is told of them later means nothing")
  func lost() throws {
    var cluster = LeaseTests.cluster(nodes: 1)
    let first = try #require(LeaseTests.lease(&cluster, 1))
    cluster.send(.lost(LeaseTests.peer))
    #expect(cluster.state.loads.held == 0 && cluster.state.leases.lost == UInt64(first.1.credits))
    cluster.send(.leaseAccount(LeaseTests.peer, LeaseTests.account(1, first, used: 1, returned: 0)))
    #expect(cluster.state.leases.unknown == 1 && cluster.state.loads.connections(0) == 0)

    cluster.send(.registerDistributor(LeaseTests.peer, DistributorRegistration(services: [])))
    let second = try #require(LeaseTests.lease(&cluster, 1))
    cluster.lose(0)
    cluster.rejoin(0)
    #expect(cluster.state.loads.held == 0)
    let third = try #require(LeaseTests.lease(&cluster, 1))
    #expect(third.1.term != second.1.term)
    cluster.send(
      .leaseAccount(LeaseTests.peer, LeaseTests.account(1, second, used: 0, returned: second.1.credits)))
    #expect(cluster.state.loads.held(0) == UInt32(third.1.credits), "the old process's credits are not the new one's")
    cluster.send(.leaseAccount(LeaseTests.peer, LeaseTests.account(1, third, used: .max, returned: .max)))
    #expect(cluster.state.loads.connections(0) == UInt32(third.1.credits) && cluster.state.loads.held(0) == 0)
    cluster.send(
      .leaseAccount(
        LeaseTests.peer,
        LeaseAccount(target: 1, pool: .every, backEnd: BackEndID(64_000), term: 0, used: 1, returned: 1)))
    let ledger = cluster.state.leases
    #expect(ledger.granted == ledger.used + ledger.returned + ledger.lost && ledger.outstanding == 0)
  }

  @Test(
    "under random events no bound is exceeded and the book is exact",
    arguments: [PolicyName.hash, .boundedLoadHash, .lard, .replicatedLARD, .anchoredLARD])
  func randomEvents(_ name: PolicyName) {
    let seed: UInt64 = 0x1ea5e
    var walk = LeaseWalk(Policy(name), seed: seed)
    for step in 0..<RandomEventTests.events {
      walk.step()
      if let failure = walk.failure {
        Issue.record("seed \(seed), step \(step): \(failure)")
        return
      }
    }
    let ledger = walk.cluster.state.leases
    // The bound of bounded-load hashing leaves little room for credits.
    #expect(
      walk.leased > UInt64(RandomEventTests.events / (name == .boundedLoadHash ? 300 : 50)),
      "leases must be used: \(walk.leased)")
    #expect(ledger.returned > 0 && ledger.lost > 0 && ledger.unknown > 0)
    #expect(walk.renewed > 0, "credits must be renewed")
    var again = LeaseWalk(Policy(name), seed: seed)
    var other = LeaseWalk(Policy(name), seed: seed)
    for _ in 0..<5000 {
      again.step()
      other.step()
    }
    #expect(again.digest == other.digest && again.digest != 0)
  }
}
