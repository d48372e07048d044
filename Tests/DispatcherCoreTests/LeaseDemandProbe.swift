// SPDX-License-Identifier: Apache-2.0

@testable import DispatcherCore

enum LeaseDemandProbe {
  /// What is expected of a target that is asked for once per `interval` nanoseconds, for a lease of 100 ms.
  static func expected(workers: Int, interval: UInt64) -> UInt16 {
    var demand = LeaseDemand(LeaseTerms(credits: 1000, time: 100_000_000))
    var last: UInt16 = 0
    for round in UInt64(1)...100 { last = demand.ask(7, workers: workers, now: round * interval) }
    return last
  }
}
