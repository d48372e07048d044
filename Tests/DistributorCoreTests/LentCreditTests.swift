// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import Rules
import Testing

@testable import DistributorCore

/// Credits that the program in the kernel has, as the driver moves them.
@Suite struct LentCreditTests {
  private func table(_ credits: UInt16 = 4, expires: UInt64 = 1000) -> LeaseTable {
    var table = LeaseTable(capacity: 64)
    table.grant(target: 7, pool: .every, backEnd: 2, credits: credits, time: expires, term: 9, now: 0)
    return table
  }

  private func told(_ table: inout LeaseTable, now: UInt64 = 0) -> [LeaseAccount] {
    var list: [LeaseAccount] = []
    table.collect(now: now, alongside: true, into: &list)
    return list
  }

  private func account(used: UInt16 = 0, returned: UInt16 = 0, target: UInt64 = 7) -> LeaseAccount {
    LeaseAccount(
      target: returned > 0 ? 0 : target, pool: .every, backEnd: BackEndID(2), term: 9, used: used, returned: returned)
  }

  @Test func aLoanTakesAllAndNothingIsLeftToTake() {
    var table = table()
    #expect(table.lend(backEnd: 2, now: 1) == .init(credits: 4, term: 9, expires: LeaseTable.creditTime))
    #expect(table.credits == 0 && table.lent == 4)
    #expect(table.take(target: 7, pool: .every, now: 1) == nil)
    #expect(table.lend(backEnd: 2, now: 1) == nil)
    #expect(table.lender(target: 7, pool: .every, now: 1) == 2)
    #expect(table.lender(target: 8, pool: .every, now: 1) == nil, "an unknown target")
    #expect(table.lender(target: 7, pool: .every, now: 1000) == nil, "a target whose time is over")
    table.takeBack(4, backEnd: 2)
    #expect(table.take(target: 7, pool: .every, now: 1) == 2)
    #expect(table.credits == 3 && table.lent == 0)
  }

  @Test func whatTheKernelUsedIsToldLikeOurOwnUse() {
    var table = table()
    _ = table.take(target: 7, pool: .every, now: 0)
    _ = table.lend(backEnd: 2, now: 0)
    table.usedInKernel(target: 7, backEnd: 2, term: 9, now: 1)
    table.usedInKernel(target: 7, backEnd: 2, term: 9, now: 1)
    #expect(told(&table) == [account(used: 3)])
    #expect(table.lent == 1 && table.used == 3)
  }

  @Test func usesOfATargetThatAnotherWorkerAskedForAreToldTogether() {
    var table = table()
    _ = table.lend(backEnd: 2, now: 0)
    for _ in 0..<3 { table.usedInKernel(target: 50, backEnd: 2, term: 9, now: 1) }
    table.takeBack(1, backEnd: 2)
    #expect(table.take(target: 50, pool: .every, now: 1) == nil, "it was not told where that target goes")
    #expect(table.take(target: 7, pool: .every, now: 1) == 2)
    #expect(told(&table) == [account(used: 3, target: 50), account(used: 1)])
  }

  @Test func theKernelsUsesAreToldAtOnceThenInIntervalsOrWhenThereAreMany() {
    var table = table(300)
    _ = table.lend(backEnd: 2, now: 0)
    func use(_ count: Int, now: UInt64) {
      for _ in 0..<count { table.usedInKernel(target: 7, backEnd: 2, term: 9, now: now) }
    }
    func due(now: UInt64) -> [UInt16] {
      var list: [LeaseAccount] = []
      table.collect(now: now, alongside: false, into: &list)
      return list.map(\.used)
    }
    use(2, now: 5)
    #expect(due(now: 5) == [2])
    use(3, now: 6)
    #expect(due(now: 6).isEmpty && table.nextDeadline == LeaseTable.tellingInterval)
    #expect(due(now: LeaseTable.tellingInterval) == [3])
    let now = 6 + LeaseTable.tellingInterval
    use(LeaseTable.usesTogether - 1, now: now)
    #expect(due(now: now).isEmpty)
    use(1, now: now)
    #expect(due(now: now) == [UInt16(LeaseTable.usesTogether)])
    use(1, now: now)
    #expect(told(&table, now: now) == [account(used: 1)], "alongside, whatever the interval")
    table.forget()
    #expect(table.nextDeadline == nil)
  }

  @Test func aUseForATargetThatWasGivenUpIsToldByItself() {
    var table = table()
    _ = table.lend(backEnd: 2, now: 0)
    table.usedInKernel(target: 123, backEnd: 2, term: 9, now: 1)
    #expect(told(&table) == [account(used: 1, target: 123)])
  }

  @Test func moreThanWasLentCannotComeBack() {
    var table = table()
    _ = table.lend(backEnd: 2, now: 0)
    table.takeBack(9, backEnd: 2)
    #expect(table.credits == 4 && table.lent == 0)
    table.usedInKernel(target: 7, backEnd: 2, term: 9, now: 1)
    table.usedInKernel(target: 7, backEnd: 6_000, term: 9, now: 1)
    table.takeBack(9, backEnd: 6_000)
    #expect(table.lend(backEnd: 6_000, now: 1) == nil)
    #expect(table.used == 0 && told(&table).isEmpty)
  }

  @Test func whatIsLentPastItsTimeIsAskedBackThenReturned() {
    var table = table()
    _ = table.lend(backEnd: 2, now: 0)
    let end = LeaseTable.creditTime
    #expect(table.nextDeadline == end)
    #expect(!table.mayBeOverdue(now: end - 1) && table.mayBeOverdue(now: end))
    #expect(!table.isOverdue(backEnd: 2, now: end - 1) && table.isOverdue(backEnd: 2, now: end))
    // One was used, and we do not know it yet.
    table.takeBack(3, backEnd: 2)
    #expect(told(&table, now: end) == [account(returned: 3)])
    #expect(table.lent == 1)
    #expect(table.nextDeadline == nil, "what is used comes by itself")
    table.usedInKernel(target: 7, backEnd: 2, term: 9, now: end + 1)
    #expect(told(&table, now: end + 1) == [account(used: 1)])
    #expect(table.lent == 0)
  }

  @Test func aLostDispatcherIsToldNothingOfIt() {
    var table = table()
    _ = table.lend(backEnd: 2, now: 0)
    table.forget()
    #expect(table.lent == 0 && table.forgotten == 4)
    table.usedInKernel(target: 7, backEnd: 2, term: 9, now: 1)
    #expect(told(&table).isEmpty)
  }

  /// Grants, loans, uses here and there, terms that change and times that end: every credit ends in one account.
  @Test(arguments: [1, 2, 3] as [UInt64]) func everyCreditEndsOnce(seed: UInt64) {
    var random = SplitMix(seed: seed)
    var table = LeaseTable(capacity: 32)
    var accounts: [LeaseAccount] = []
    var kernel = Array(repeating: (left: UInt32(0), term: UInt32(0)), count: 3)
    /// What the kernel used and the worker has not read.
    var unread: [(target: UInt64, backEnd: UInt16, term: UInt32)] = []
    var open: [UInt64: Int] = [:]
    func name(_ backEnd: UInt16, _ term: UInt32) -> UInt64 { UInt64(backEnd) << 32 | UInt64(term) }
    var (now, usedThere) = (UInt64(0), 0)
    func reclaim(_ backEnd: UInt16) {
      table.takeBack(kernel[Int(backEnd)].left, backEnd: backEnd)
      kernel[Int(backEnd)].left = 0
    }
    for step in 0..<20_000 {
      now += UInt64(random.below(1_000_000))
      let (target, backEnd) = (UInt64(random.below(40)), UInt16(random.below(3)))
      switch random.below(16) {
      case 0..<4:
        let (credits, term) = (UInt16(random.below(6)), UInt32(step / 4000))
        reclaim(backEnd)
        table.grant(
          target: target, pool: .every, backEnd: backEnd, credits: credits, time: UInt64(random.below(80_000_000)),
          term: term, now: now)
        open[name(backEnd, term), default: 0] += Int(credits)
      case 4..<7:
        guard let loan = table.lend(backEnd: backEnd, now: now) else { break }
        if kernel[Int(backEnd)].term != loan.term { reclaim(backEnd) }
        kernel[Int(backEnd)] = (kernel[Int(backEnd)].left + loan.credits, loan.term)
      case 7..<11:
        guard kernel[Int(backEnd)].left > 0 else { break }
        kernel[Int(backEnd)].left -= 1
        unread.append((target, backEnd, kernel[Int(backEnd)].term))
      case 11:
        for use in unread { table.usedInKernel(target: use.target, backEnd: use.backEnd, term: use.term, now: now) }
        usedThere += unread.count
        unread.removeAll()
      case 12: if table.take(target: target, pool: .every, now: now) == nil { reclaim(backEnd) }
      case 13:
        for backEnd in 0..<UInt16(3) where table.isOverdue(backEnd: backEnd, now: now) { reclaim(backEnd) }
        table.collect(now: now, alongside: Bool.random(using: &random), into: &accounts)
      case 14:
        reclaim(backEnd)
        table.drop(backEnd: backEnd, now: now)
      default: reclaim(backEnd)
      }
      let lent = kernel.reduce(UInt64(unread.count)) { $0 + UInt64($1.left) }
      #expect(table.lent == lent, "seed \(seed) step \(step)")
      #expect(
        table.granted == table.used + table.returned + table.credits + table.lent, "seed \(seed) step \(step)")
    }
    for use in unread { table.usedInKernel(target: use.target, backEnd: use.backEnd, term: use.term, now: now) }
    for backEnd in 0..<UInt16(3) { reclaim(backEnd) }
    table.dropAll(now: now)
    table.collect(now: now, alongside: true, into: &accounts)
    for account in accounts {
      open[name(account.backEnd.rawValue, account.term), default: 0] -= Int(account.used) + Int(account.returned)
    }
    #expect(open.values.allSatisfy { $0 == 0 }, "seed \(seed): \(open)")
    #expect(usedThere > 500, "seed \(seed)")
  }
}
