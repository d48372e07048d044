// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import Rules

@testable import DispatcherCore
@testable import DistributorCore

/// A model cluster whose distributors repeat decisions under leases and tell of it late: random events, and what must hold
/// after each. The model's nodes have exactly the connections that the workers sent there.
struct LeaseWalk: ~Copyable {
  struct Worker {
    var peer: PeerID
    var table = LeaseTable(capacity: 64)
    /// On their way to the dispatcher, in order.
    var accounts: [LeaseAccount] = []
    /// Connections on their way, by node.
    var arriving: [UInt32]
    var leased: UInt64 = 0
  }

  var cluster: ModelCluster
  var generator: SeededGenerator
  var workers: [Worker] = []
  var failure: String?
  var digest: UInt64 = 0
  /// Credits that came without being asked for.
  var renewed = 0
  private var asked: [UInt64: (worker: Int, target: UInt64)] = [:]
  private var nextID: UInt64 = 0
  private var checks = 0

  init(_ policy: Policy, seed: UInt64) {
    var parameters = DispatcherParameters(policy: policy, tableCapacity: 500, queueCapacity: 50)
    parameters.slowStart = 2_000_000_000
    parameters.queueDeadline = 50_000_000
    parameters.assignmentLifetime = 1_000_000_000_000_000
    parameters.leases = LeaseTerms(credits: 12, time: 50_000_000)
    cluster = ModelCluster(parameters)
    generator = SeededGenerator(seed: seed)
    for index in 0..<6 { cluster.addNode(weight: index == 5 ? 250 : 100, hardMaximum: index % 3 == 0 ? 30 : 200) }
    for index in 0..<2 {
      let peer = PeerID(1_000_001 + UInt64(index))
      cluster.send(.registerDistributor(peer, DistributorRegistration(services: [])))
      workers.append(Worker(peer: peer, arriving: Array(repeating: 0, count: 6)))
    }
    cluster.actions.removeAll(keepingCapacity: true)
  }

  var leased: UInt64 { workers.reduce(0) { $0 + $1.leased } }

  mutating func step() {
    cluster.now += UInt64(generator.pick(2_000_000))
    let worker = generator.pick(workers.count)
    let index = generator.pick(cluster.nodes.count)
    switch generator.pick(1000) {
    case 0..<480: request(worker)
    case 480..<860: report(index)
    case 860..<880:
      if workers[worker].arriving[index] > 0 {
        tell(worker, alongside: true)
        deliver(worker)
        workers[worker].arriving[index] -= 1
        cluster.send(.returned(BackEndID(UInt16(index))))
      }
    case 880..<940: tell(worker, alongside: generator.pick(2) == 0)
    case 940..<985: deliver(worker)
    case 985..<988: if cluster.nodes[index].isConnected { change(index, BackEndState.allCases[generator.pick(3)]) }
    case 988..<994: if cluster.nodes[index].isConnected { change(index, .up) } else { cluster.rejoin(index) }
    case 994..<995:
      if cluster.nodes[index].isConnected {
        for worker in workers.indices { workers[worker].arriving[index] = 0 }
        cluster.lose(index)
      }
    default: cluster.send(.tick)
    }
    follow()
    checks += 1
    if checks % 16 == 0 { compareBooks() }
  }

  private mutating func request(_ worker: Int) {
    let target = SeededGenerator.mix(UInt64(generator.pick(generator.pick(4) == 0 ? 2000 : 5)))
    if let backEnd = workers[worker].table.take(target: target, pool: .every, now: cluster.now) {
      workers[worker].leased += 1
      place(worker, Int(backEnd), "leased to")
      return
    }
    nextID += 1
    asked[nextID] = (worker, target)
    cluster.send(.request(workers[worker].peer, DecisionRequest(id: nextID, target: target)))
  }

  private mutating func report(_ index: Int) {
    for worker in workers.indices {
      let arrived = UInt32(generator.pick(Int(workers[worker].arriving[index]) + 1))
      workers[worker].arriving[index] -= arrived
      cluster.nodes[index].active += arrived
    }
    let ended = UInt32(generator.pick(Int(min(8, cluster.nodes[index].active)) + 1))
    cluster.nodes[index].active -= ended
    cluster.nodes[index].ended += ended
    if cluster.nodes[index].isConnected { cluster.report(index) }
  }

  private mutating func change(_ index: Int, _ state: BackEndState) {
    cluster.nodes[index].state = state
    cluster.report(index)
  }

  private mutating func tell(_ worker: Int, alongside: Bool) {
    var accounts = workers[worker].accounts
    workers[worker].table.collect(now: cluster.now, alongside: alongside, into: &accounts)
    workers[worker].accounts = accounts
  }

  private mutating func deliver(_ worker: Int) {
    var used = BackEndSet()
    for account in workers[worker].accounts {
      cluster.send(.leaseAccount(workers[worker].peer, account))
      if account.used > 0 { used = used.union(BackEndSet(account.backEnd)) }
    }
    cluster.send(.leasesUsed(workers[worker].peer, used))
    workers[worker].accounts.removeAll(keepingCapacity: true)
  }

  /// Does what the dispatcher wants, views first: a worker sees them in the order in which they are sent.
  private mutating func follow() {
    for action in cluster.actions {
      switch action {
      case .publishView: for worker in workers.indices { workers[worker].table.dropAll(now: cluster.now) }
      // Without credits, it changes nothing of what is walked here for.
      case .dismiss, .spread: break
      case .renew(let peer, let credit):
        guard let worker = workers.firstIndex(where: { $0.peer == peer }) else { continue }
        renewed += 1
        workers[worker].table.renew(
          backEnd: credit.backEnd.rawValue, credits: credit.credits, term: credit.term, now: cluster.now)
      case .answer(_, let decision):
        guard let (worker, target) = asked.removeValue(forKey: decision.id) else {
          failure = "answered twice"
          return
        }
        guard case .assigned(let backEnd) = decision.outcome else { continue }
        place(worker, Int(backEnd.rawValue), "assigned to")
        guard let lease = decision.lease else {
          workers[worker].table.revoke(target: target, pool: .every)
          continue
        }
        workers[worker].table.grant(
          target: target, pool: .every, backEnd: backEnd.rawValue, credits: lease.credits,
          time: UInt64(lease.milliseconds) * 1_000_000, term: lease.term, now: cluster.now)
      }
    }
    cluster.actions.removeAll(keepingCapacity: true)
  }

  private func load(_ index: Int) -> UInt32 {
    workers.reduce(cluster.nodes[index].active) { $0 + $1.arriving[index] }
  }

  private mutating func place(_ worker: Int, _ index: Int, _ how: String) {
    digest = SeededGenerator.mix(digest ^ UInt64(index) ^ UInt64(worker) << 8)
    let node = cluster.nodes[index]
    if !node.isConnected || node.state != .up { failure = "\(how) node \(index), which is \(node.state)" }
    workers[worker].arriving[index] += 1
    if load(index) > node.hardMaximum { failure = "\(how) node \(index) above its maximum: \(load(index))" }
    var total: UInt64 = 0
    for index in cluster.nodes.indices where cluster.nodes[index].isConnected && cluster.nodes[index].state == .up {
      total += UInt64(load(index))
    }
    if total > cluster.state.admissionLimit {
      failure = "\(how) node \(index) above the admission limit \(cluster.state.admissionLimit): \(total)"
    }
  }

  /// Credits of the present term that workers can still use, or have returned in accounts that are not there yet.
  private func open(_ index: Int) -> UInt32 {
    var sum: UInt32 = 0
    let term = cluster.state.leases.terms[index]
    for worker in workers {
      if worker.table.purses[index].term == term { sum += worker.table.purses[index].credits }
      for account in worker.table.accounts + worker.accounts
      where Int(account.backEnd.rawValue) == index && account.term == term {
        sum += UInt32(account.returned)
      }
    }
    return sum
  }

  private mutating func compareBooks() {
    for index in cluster.nodes.indices where cluster.nodes[index].isConnected {
      let booked = cluster.state.loads.connections(index) + cluster.state.loads.held(index)
      let real = load(index) + open(index)
      if real != booked { failure = "node \(index) has \(real) connections and credits, the book says \(booked)" }
    }
    let ledger = cluster.state.leases
    if ledger.granted != ledger.used + ledger.returned + ledger.lost + ledger.outstanding {
      failure = "credits do not add up: \(ledger)"
    }
    let loads = cluster.state.loads
    let held = loads.eligible.members.reduce(UInt64(0)) { $0 + UInt64(loads.held(Int($1.rawValue))) }
    if held != loads.held { failure = "held \(loads.held), the nodes say \(held)" }
  }
}
