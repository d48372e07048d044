// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import Testing

/// When connections are looked for whose end the kernel has not told.
@Suite struct ComparisonPlanTests {
  private typealias Look = ComparisonPlan.Look

  private func looks(
    _ plan: inout ComparisonPlan, losses: UInt64 = 0, active: UInt64 = 1, isEnding: Bool = false, _ count: Int
  )
    -> [Look]
  {
    (0..<count).map { _ in plan.sweep(losses: losses, active: active, isEnding: isEnding) }
  }

  @Test func someAreLookedAtForNoReason() {
    var plan = ComparisonPlan()
    #expect(looks(&plan, 59) == Array(repeating: .some, count: 59))
    #expect(looks(&plan, 1) == [.all], "once a minute")
    #expect(looks(&plan, 1) == [.all], "until it was done")
    plan.dumped()
    #expect(looks(&plan, 1) == [.some])
  }

  @Test func nothingIsLookedAtWhereNothingIsOpen() {
    var plan = ComparisonPlan()
    #expect(looks(&plan, losses: 7, active: 0, isEnding: true, 70) == Array(repeating: .nothing, count: 70))
  }

  @Test func allAreLookedAtForSomeTimeAfterALoss() {
    var plan = ComparisonPlan()
    #expect(looks(&plan, losses: 1, 5) == [.each, .each, .each, .eachOrAll, .some])
    #expect(looks(&plan, losses: 2, 2) == [.each, .each])
    #expect(looks(&plan, losses: 3, 5) == [.each, .each, .each, .eachOrAll, .some], "a further loss begins anew")
    plan.suspect()
    #expect(looks(&plan, losses: 3, 1) == [.each])
  }

  /// The kernel counts no loss, or one after the other: an agent that ends waits for all connections.
  @Test func allAreLookedAtBeforeTheEnd() {
    var plan = ComparisonPlan()
    for losses in [0, 0, 1, 2, 3, 3] as [UInt64] {
      #expect(plan.sweep(losses: losses, active: 1, isEnding: true) == .eachOrAll)
    }
  }
}
