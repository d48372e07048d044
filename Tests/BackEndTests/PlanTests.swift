// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ControlProtocol
import Handoff
import Testing
import Wire

@Suite struct ServiceAddressPlanTests {
  private let first = IPAddress("192.0.2.1")!
  private let second = IPAddress("2001:db8::1")!
  private let oneSecond: UInt64 = 1_000_000_000

  @Test func servedAddressesAreAddedOnce() {
    var plan = ServiceAddressPlan()
    plan.update(served: [second, first, first], now: 0)
    #expect(plan.steps(now: 0, presence: { _ in .absent }, connections: { _ in 0 }) == [.add(first), .add(second)])
    #expect(plan.steps(now: 0, presence: { _ in .own }, connections: { _ in 0 }) == [])
    #expect(!plan.isWaiting)
  }

  @Test func foreignAddressesAreLeftAlone() {
    var plan = ServiceAddressPlan()
    plan.update(served: [first], now: 0)
    #expect(plan.steps(now: 0, presence: { _ in .foreign }, connections: { _ in 0 }) == [])
    plan.update(served: [], now: 0)
    #expect(plan.steps(now: 60 * oneSecond, presence: { _ in .foreign }, connections: { _ in 0 }) == [])
    #expect(plan.standing.isEmpty)
  }

  struct Linger: Sendable, CustomTestStringConvertible {
    var seconds: UInt64
    var connections: Int
    var goes: Bool
    var testDescription: String { "\(connections) connections after \(seconds) s" }
  }

  @Test(arguments: [
    Linger(seconds: 1, connections: 0, goes: false), Linger(seconds: 2, connections: 0, goes: true),
    Linger(seconds: 29, connections: 1, goes: false), Linger(seconds: 30, connections: 1, goes: true),
  ]) func addressesLingerForOpenConnections(_ linger: Linger) {
    var plan = ServiceAddressPlan()
    plan.update(served: [first], now: 0)
    plan.update(served: [], now: oneSecond)
    #expect(plan.isWaiting)
    let steps = plan.steps(
      now: oneSecond + linger.seconds * oneSecond, presence: { _ in .own }, connections: { _ in linger.connections })
    #expect(steps == (linger.goes ? [.remove(first)] : []))
    #expect(plan.isWaiting == !linger.goes)
  }

  @Test func anAddressThatComesBackInTimeStays() {
    var plan = ServiceAddressPlan()
    plan.update(served: [first], now: 0)
    plan.update(served: [], now: oneSecond)
    plan.update(served: [first], now: 2 * oneSecond)
    #expect(plan.steps(now: 90 * oneSecond, presence: { _ in .own }, connections: { _ in 0 }) == [])
  }
}

@Suite struct LoadAccountTests {
  @Test func endsAreReportedOnceAndPerConnection() {
    var account = LoadAccount()
    account.connectionEstablished(LoadTotals(active: 3, ended: 5))
    #expect(
      account.report(LoadTotals(active: 3, ended: 5), state: .up, countsToo: false)
        == LoadReport(ended: 0, active: 3, state: .up), "the first report is due")
    #expect(account.report(LoadTotals(active: 4, ended: 5), state: .up, countsToo: false) == nil)
    #expect(
      account.report(LoadTotals(active: 4, ended: 5), state: .up, countsToo: true)
        == LoadReport(ended: 0, active: 4, state: .up))
    #expect(
      account.report(LoadTotals(active: 2, ended: 7), state: .up, countsToo: false)
        == LoadReport(ended: 2, active: 2, state: .up))
    #expect(account.report(LoadTotals(active: 2, ended: 7), state: .up, countsToo: true) == nil)
    #expect(account.report(LoadTotals(active: 2, ended: 7), state: .draining, countsToo: false)?.state == .draining)
    account.connectionEstablished(LoadTotals(active: 1, ended: 8))
    #expect(account.report(LoadTotals(active: 1, ended: 8), state: .draining, countsToo: false)?.ended == 0)
  }
}

@Suite struct HandoffTallyTests {
  @Test func sumsAgree() {
    var tally = HandoffTally()
    for _ in 0..<20 { tally.handoffReceived() }
    for reason in HandoffRefusal.allCases { tally.handoffRefused(reason) }
    for _ in 0..<8 { tally.handoffAccepted() }
    for _ in 0..<2 { tally.directAccepted() }
    tally.connectionAdopted()
    for obstacle in DirectObstacle.allCases { tally.fellBack(obstacle) }
    for end in RelayEnd.allCases { tally.connectionEnded(end) }
    tally.handoffAborted()
    #expect(tally.underWay == 3)
    #expect(tally.active == 1)
    var sum = HandoffTally()
    sum.add(tally)
    sum.add(tally)
    #expect(sum.received == 40)
    #expect(sum.refusedInAll == 12)
    #expect(sum.endedInAll == 20)
    #expect(sum.direct == 4)
    #expect(sum.adopted == 2)
    for obstacle in DirectObstacle.allCases { #expect(sum.fallenBack(obstacle) == 2, "\(obstacle)") }
    for reason in HandoffRefusal.allCases { #expect(sum.refused(reason) == 2, "\(reason)") }
    for end in RelayEnd.allCases { #expect(sum.ended(end) == 2, "\(end)") }
  }
}
