// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import Rules
import Testing

@testable import DistributorCore

@Suite struct LeaseTableTests {
  static let millisecond: UInt64 = 1_000_000

  func account(_ target: UInt64, _ backEnd: UInt16, used: UInt16 = 0, returned: UInt16 = 0) -> LeaseAccount {
    LeaseAccount(target: target, pool: .every, backEnd: BackEndID(backEnd), term: 1, used: used, returned: returned)
  }

  func collect(_ table: inout LeaseTable, now: UInt64, alongside: Bool = false) -> [LeaseAccount] {
    var accounts: [LeaseAccount] = []
    table.collect(now: now, alongside: alongside, into: &accounts)
    return accounts
  }

  /// Targets 1, 2, ... at back-ends of the same numbers, each with credits.
  func table(_ targets: Int = 1, credits: UInt16 = 3, capacity: Int = 64) -> LeaseTable {
    var table = LeaseTable(capacity: capacity)
    for target in 1...targets {
      table.grant(
        target: UInt64(target), pool: .every, backEnd: UInt16(target), credits: credits,
        time: 1000 * LeaseTableTests.millisecond, term: 1, now: 0)
    }
    return table
  }

  @Test func creditsLetAsManyRequestsThrough() {
    var table = table()
    let taken: [UInt16?] = (0..<5).map { table.take(target: 1, pool: .every, now: $0) }
    #expect(taken == [1, 1, 1, nil, nil])
    #expect(table.take(target: 2, pool: .every, now: 0) == nil)
    #expect(table.credits == 0 && table.used == 3)
  }

  @Test func targetsOfABackEndShareItsCredits() {
    var table = table(2)
    table.grant(target: 7, pool: .every, backEnd: 1, credits: 0, time: 1000, term: 1, now: 0)
    let taken: [UInt16?] = [7, 1, 7, 1].map { table.take(target: $0, pool: .every, now: 0) }
    #expect(taken == [1, 1, 1, nil])
    #expect(table.take(target: 2, pool: .every, now: 0) == 2)
    let told = collect(&table, now: 0, alongside: true)
    #expect(told == [account(7, 1, used: 2), account(1, 1, used: 1), account(2, 2, used: 1)])
  }

  @Test func aPoolHasTargetsOfItsOwn() {
    var table = table()
    #expect(table.take(target: 1, pool: PoolID("api"), now: 0) == nil)
    table.grant(target: 1, pool: PoolID("api"), backEnd: 9, credits: 1, time: 100, term: 1, now: 0)
    #expect(table.take(target: 1, pool: PoolID("api"), now: 0) == 9)
    #expect(table.take(target: 1, pool: .every, now: 0) == 1)
  }

  @Test func usesAreToldAlongsideOtherMessagesOrSoonByThemselves() {
    var table = table()
    #expect(collect(&table, now: 0, alongside: true).isEmpty)
    _ = table.take(target: 1, pool: .every, now: 10)
    _ = table.take(target: 1, pool: .every, now: 20)
    #expect(collect(&table, now: 20).isEmpty)
    #expect(table.nextDeadline == 10 + LeaseTable.tellingDelay)
    #expect(collect(&table, now: 10 + LeaseTable.tellingDelay) == [account(1, 1, used: 2)])
    #expect(collect(&table, now: 11 + LeaseTable.tellingDelay, alongside: true).isEmpty, "told once")
    _ = table.take(target: 1, pool: .every, now: 12 + LeaseTable.tellingDelay)
    #expect(collect(&table, now: 12 + LeaseTable.tellingDelay, alongside: true) == [account(1, 1, used: 1)])
    #expect(table.nextDeadline == nil, "no credits, nothing untold")
  }

  @Test func creditsGoBackWhenTheirTimeIsOverAndNewOnesServeTheSameTargets() {
    var table = table(2)
    let end = LeaseTable.creditTime
    _ = table.take(target: 1, pool: .every, now: 0)
    #expect(collect(&table, now: 0, alongside: true) == [account(1, 1, used: 1)])
    #expect(table.nextDeadline == end)
    #expect(table.take(target: 2, pool: .every, now: end) == nil, "over, though nobody swept")
    #expect(collect(&table, now: end).isEmpty, "told after the delay")
    let told = collect(&table, now: end + LeaseTable.tellingDelay)
    #expect(told == [account(0, 1, returned: 2), account(0, 2, returned: 3)])
    #expect(table.granted == table.used + table.returned && table.credits == 0 && table.nextDeadline == nil)
    table.grant(target: 9, pool: .every, backEnd: 2, credits: 1, time: 1000, term: 1, now: end)
    #expect(table.take(target: 2, pool: .every, now: end + 1) == 2)
  }

  @Test func aTargetIsForgottenAfterItsTimeOrWhenItsLeaseIsRevoked() {
    var table = LeaseTable(capacity: 8)
    for target in UInt64(1)...2 {
      table.grant(target: target, pool: .every, backEnd: 1, credits: 4, time: 1000, term: 1, now: 0)
    }
    #expect(table.take(target: 1, pool: .every, now: 999) == 1)
    #expect(table.take(target: 1, pool: .every, now: 1000) == nil)
    #expect(table.take(target: 2, pool: .every, now: 999) == 1)
    table.revoke(target: 2, pool: .every)
    #expect(table.take(target: 2, pool: .every, now: 999) == nil && table.credits == 6)
  }

  @Test(arguments: ["drop", "drop all"]) func droppedCreditsAreReturned(_ how: String) {
    var table = table(3)
    _ = table.take(target: 2, pool: .every, now: 0)
    if how == "drop" { table.drop(backEnd: 2, now: 0) } else { table.dropAll(now: 0) }
    #expect(table.take(target: 2, pool: .every, now: 0) == nil)
    #expect((table.take(target: 3, pool: .every, now: 0) == 3) == (how == "drop"))
    let told = collect(&table, now: 0, alongside: true)
    #expect(told.contains(account(2, 2, used: 1)) && told.contains(account(0, 2, returned: 2)))
    #expect(told.contains(account(0, 1, returned: 3)) == (how != "drop"))
    // New credits do not bring back what was known before the membership changed.
    table.grant(target: 9, pool: .every, backEnd: 3, credits: 1, time: 1000, term: 1, now: 0)
    #expect((table.take(target: 3, pool: .every, now: 0) == 3) == (how == "drop"))
  }

  @Test func aTargetFollowsItsNewBackEnd() {
    var table = table()
    _ = table.take(target: 1, pool: .every, now: 0)
    table.grant(target: 1, pool: .every, backEnd: 7, credits: 1, time: 500, term: 5, now: 0)
    #expect(table.take(target: 1, pool: .every, now: 1) == 7)
    let told = collect(&table, now: 1, alongside: true)
    #expect(told.first == account(1, 1, used: 1) && told.last?.backEnd == BackEndID(7) && told.last?.term == 5)
    #expect(told.count == 2 && table.credits == 2)
  }

  @Test func aNewTermEndsTheCreditsOfTheOld() {
    var table = table()
    _ = table.take(target: 1, pool: .every, now: 0)
    table.grant(target: 1, pool: .every, backEnd: 1, credits: 1, time: 500, term: 2, now: 0)
    #expect(table.take(target: 1, pool: .every, now: 1) == 1)
    #expect(table.take(target: 1, pool: .every, now: 1) == nil)
    let told = collect(&table, now: 1, alongside: true)
    #expect(told.filter { $0.term == 1 } == [account(0, 1, returned: 2), account(1, 1, used: 1)])
    #expect(told.filter { $0.term == 2 }.map(\.used) == [1])
  }

  @Test func aLostDispatcherIsToldNothing() {
    var table = table(3)
    _ = table.take(target: 1, pool: .every, now: 0)
    table.forget()
    #expect(table.take(target: 2, pool: .every, now: 0) == nil)
    #expect(collect(&table, now: 1_000_000_000, alongside: true).isEmpty && table.nextDeadline == nil)
    #expect(table.forgotten == 8 && table.granted == 9)
    #expect(table.credits == 0)
  }

  @Test func aFullSetGivesUpTheTargetThatEndsFirst() {
    var table = LeaseTable(capacity: 8)
    for target in UInt64(1)...9 {
      table.grant(target: target, pool: .every, backEnd: 1, credits: 2, time: 1000 - target, term: 1, now: 0)
    }
    #expect(table.evictions == 1)
    #expect(table.take(target: 8, pool: .every, now: 0) == nil, "it ended first")
    for target in [1, 2, 3, 4, 5, 6, 7, 9] as [UInt64] {
      #expect(table.take(target: target, pool: .every, now: 0) == 1)
    }
  }

  @Test func numbersOfNoBackEndAndManyCreditsDoNotTrap() {
    var table = table(credits: .max)
    table.grant(target: 1, pool: .every, backEnd: 1, credits: .max, time: 500, term: 1, now: 0)
    for _ in 0..<70_000 { _ = table.take(target: 1, pool: .every, now: 0) }
    table.grant(target: 2, pool: .every, backEnd: 64_000, credits: 3, time: 500, term: 1, now: 0)
    #expect(table.take(target: 2, pool: .every, now: 0) == nil)
    table.drop(backEnd: 64_000, now: 0)
    table.dropAll(now: 0)
    let told = collect(&table, now: 0, alongside: true)
    let used = told.reduce(0) { $0 + Int($1.used) }
    let returned = told.reduce(0) { $0 + Int($1.returned) }
    #expect(used == 70_000)
    #expect(returned == 2 * 65_535 + 3 - 70_000)
  }

  @Test(arguments: [1, 2, 3] as [UInt64]) func everyCreditIsAccountedForOnce(seed: UInt64) {
    var random = SplitMix(seed: seed)
    var table = LeaseTable(capacity: 32)
    var now: UInt64 = 0
    var open: [UInt64: Int] = [:]
    func name(_ backEnd: UInt16, _ term: UInt32) -> UInt64 { UInt64(backEnd) << 32 | UInt64(term) }
    var accounts: [LeaseAccount] = []
    var uses: [UInt64: Int] = [:]
    var taken = 0
    for step in 0..<20_000 {
      now += UInt64(random.below(1_000_000))
      let target = UInt64(random.below(40))
      switch random.below(20) {
      case 0..<6:
        let (backEnd, credits, term) = (UInt16(random.below(3)), UInt16(random.below(6)), UInt32(random.below(40) / 39))
        table.grant(
          target: target, pool: .every, backEnd: backEnd, credits: credits, time: UInt64(random.below(80_000_000)),
          term: term, now: now)
        open[name(backEnd, term), default: 0] += Int(credits)
      case 6..<17:
        if table.take(target: target, pool: .every, now: now) != nil {
          taken += 1
          uses[target, default: 0] += 1
        }
      case 17: table.collect(now: now, alongside: false, into: &accounts)
      case 18: table.collect(now: now, alongside: true, into: &accounts)
      default: if random.below(10) == 0 { table.drop(backEnd: UInt16(random.below(3)), now: now) }
      }
      let left = table.purses.reduce(0) { $0 + UInt64($1.credits) }
      #expect(table.credits == left, "seed \(seed) step \(step)")
    }
    table.dropAll(now: now)
    table.collect(now: now, alongside: true, into: &accounts)
    for account in accounts {
      open[name(account.backEnd.rawValue, account.term), default: 0] -= Int(account.used) + Int(account.returned)
      if account.used > 0 { uses[account.target, default: 0] -= Int(account.used) }
    }
    #expect(open.values.allSatisfy { $0 == 0 } && uses.values.allSatisfy { $0 == 0 }, "seed \(seed)")
    #expect(taken > 1000, "seed \(seed)")
  }
}
