// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Testing

@testable import ClusterStartup

@Suite struct LifeCycleTests {
  typealias Step = (event: LifeCycle.Event, second: UInt64, action: LifeCycle.Action)

  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var steps: [Step]
    var testDescription: String { name }
  }

  private static func s(_ seconds: UInt64) -> UInt64 { seconds * 1_000_000_000 }

  @Test(arguments: [
    Case(
      name: "drain to the end",
      steps: [
        (.started, 1, .announceReady), (.tick, 2, .none), (.signal(.terminate), 3, .drain(until: s(33))),
        (.tick, 4, .none), (.rolesEnded, 5, .finish),
      ]),
    Case(
      name: "second signal ends at once",
      steps: [
        (.started, 1, .announceReady), (.signal(.interrupt), 3, .drain(until: s(33))),
        (.signal(.interrupt), 4, .cut), (.signal(.terminate), 5, .none), (.rolesEnded, 6, .finish),
      ]),
    Case(
      name: "a drain that outlives its deadline is cut",
      steps: [
        (.started, 0, .announceReady), (.signal(.terminate), 0, .drain(until: s(30))), (.tick, 30, .none),
        (.tick, 34, .none), (.tick, 35, .cut), (.rolesEnded, 36, .finish),
      ]),
    Case(
      name: "a role that does not end is given up",
      steps: [
        (.started, 0, .announceReady), (.signal(.terminate), 0, .drain(until: s(30))), (.signal(.terminate), 1, .cut),
        (.tick, 10, .none), (.tick, 11, .abandon),
      ]),
    Case(name: "signal before the start has ended", steps: [(.signal(.terminate), 1, .leave)]),
    Case(
      name: "hang-up at any time reads the log level",
      steps: [
        (.signal(.hangUp), 0, .readLogLevel), (.started, 1, .announceReady), (.signal(.hangUp), 2, .readLogLevel),
        (.signal(.terminate), 3, .drain(until: s(33))), (.signal(.hangUp), 4, .readLogLevel),
      ]),
  ])
  func lives(_ example: Case) {
    var cycle = LifeCycle(drain: Self.s(30))
    for (index, step) in example.steps.enumerated() {
      #expect(cycle.handle(step.event, now: Self.s(step.second)) == step.action, "step \(index)")
    }
  }

  @Test func deadlinesAreKnown() {
    var cycle = LifeCycle(drain: Self.s(30))
    #expect(cycle.deadline == nil)
    _ = cycle.handle(.started, now: 0)
    #expect(cycle.deadline == nil)
    _ = cycle.handle(.signal(.terminate), now: Self.s(1))
    #expect(cycle.deadline == Self.s(36))
    _ = cycle.handle(.signal(.terminate), now: Self.s(2))
    #expect(cycle.deadline == Self.s(12))
  }
}
