// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import Dispatcher
import DispatcherCore
import Rules
import Testing

extension DispatcherServiceTests {
  @Test("a busy target's answers carry leases; accounts settle them, and a distributor's end loses them")
  func leases() throws {
    let dispatcher = try TestDispatcher { $0.leases = LeaseTerms(credits: 4, time: 10_000_000_000) }
    let distributor = try TestNode(dispatcher, .distributor, "front")
    let one = try TestNode(dispatcher, .backEnd, "one")
    one.registerBackEnd()
    distributor.connection.send(.registerDistributor(DistributorRegistration(services: [])))
    #expect(talk([distributor, one]) { distributor.view?.backEnds.first?.state == .up })
    func ask(_ id: UInt64) -> Lease? {
      distributor.connection.send(.decisionRequests([DecisionRequest(id: id, target: 7)]))
      #expect(talk([distributor, one]) { distributor.decisions.last?.id == id })
      return distributor.decisions.last?.lease
    }
    let lease = try #require(ask(1))
    #expect(lease.milliseconds == 10_000 && lease.credits == 1)
    distributor.connection.send(
      .leaseAccounts([
        LeaseAccount(target: 7, pool: .every, backEnd: BackEndID(0), term: lease.term, used: lease.credits, returned: 0)
      ]))
    #expect(talk([distributor, one]) { dispatcher.role.snapshot.leases.used == UInt64(lease.credits) })
    #expect(dispatcher.metric("lease_credits_total", ["outcome": "used"]) == Double(lease.credits))
    #expect(dispatcher.metric("back_end_connections", ["back_end": "one"]) == 2)
    #expect(talk([distributor, one]) { distributor.credits.count == 1 })
    #expect(distributor.credits == [LeaseCredit(backEnd: BackEndID(0), credits: 2, term: lease.term)])
    #expect(ask(2)?.credits == 0, "there are enough")
    distributor.connection.send(.goodbye("done"))
    #expect(talk([distributor, one]) { dispatcher.role.snapshot.leases.lost == 2 })
    #expect(
      dispatcher.metric("lease_credits_granted_total") == dispatcher.metric("lease_credits_total")
        && dispatcher.metric("lease_credits") == 0)
    #expect(dispatcher.metric("back_end_held") == 0)
  }

  @Test("one worker of each other distributor hears what was leased")
  func leasesOfOthers() throws {
    let dispatcher = try TestDispatcher {
      $0.policy = Policy(.lard)
      $0.leases = LeaseTerms(credits: 4, time: 10_000_000_000)
    }
    let one = try TestNode(dispatcher, .backEnd, "one")
    one.registerBackEnd()
    var workers: [TestNode] = []
    // In this order, so that the first of each is known.
    for (name, instance) in [("a/0", 1), ("a/1", 1), ("b/0", 2), ("b/1", 2), ("c/0", 3)] {
      let worker = try TestNode(dispatcher, .distributor, name, instance: UInt64(instance))
      worker.connection.send(.registerDistributor(DistributorRegistration(services: [])))
      workers.append(worker)
      #expect(talk(workers + [one]) { worker.view?.backEnds.first?.state == .up })
    }
    workers[1].connection.send(.decisionRequests([DecisionRequest(id: 1, target: 7)]))
    #expect(talk(workers + [one]) { workers[1].decisions.count == 1 })
    let lease = TargetLease(target: 7, backEnd: BackEndID(0), milliseconds: 10_000)
    #expect(talk(workers + [one]) { workers[2].targets == [lease] && workers[4].targets == [lease] })
    #expect(workers[0].targets.isEmpty && workers[1].targets.isEmpty, "they share what they know")
    #expect(workers[3].targets.isEmpty)
  }

  @Test("a back-end that speaks of leases is sent away")
  func leasesOfABackEnd() throws {
    let dispatcher = try TestDispatcher()
    let one = try TestNode(dispatcher, .backEnd, "one")
    one.registerBackEnd()
    one.connection.send(.leaseAccounts([]))
    #expect(talk([one]) { one.goodbye?.contains("leaseAccounts") == true })
  }
}
