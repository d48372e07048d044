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

  @Test("a back-end that speaks of leases is sent away")
  func leasesOfABackEnd() throws {
    let dispatcher = try TestDispatcher()
    let one = try TestNode(dispatcher, .backEnd, "one")
    one.registerBackEnd()
    one.connection.send(.leaseAccounts([]))
    #expect(talk([one]) { one.goodbye?.contains("leaseAccounts") == true })
  }
}
