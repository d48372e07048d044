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
    var asked: UInt64 = 0
    var leases: [Lease] = []
    while leases.count < 2, asked < 50 {
      asked += 1
      distributor.connection.send(.decisionRequests([DecisionRequest(id: asked, target: 7)]))
      #expect(talk([distributor, one]) { distributor.decisions.count == Int(asked) })
      leases = distributor.decisions.compactMap(\.lease)
    }
    let lease = try #require(leases.first)
    #expect(lease.milliseconds == 10_000 && (1...4).contains(lease.credits))
    distributor.connection.send(
      .leaseAccounts([
        LeaseAccount(target: 7, pool: .every, backEnd: BackEndID(0), term: lease.term, used: lease.credits, returned: 0)
      ]))
    #expect(talk([distributor, one]) { dispatcher.role.snapshot.leases.used == UInt64(lease.credits) })
    #expect(dispatcher.metric("lease_credits_total", ["outcome": "used"]) == Double(lease.credits))
    #expect(
      dispatcher.metric("back_end_connections", ["back_end": "one"]) == Double(asked + UInt64(lease.credits)))
    distributor.connection.send(.goodbye("done"))
    #expect(talk([distributor, one]) { dispatcher.role.snapshot.leases.lost > 0 })
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
