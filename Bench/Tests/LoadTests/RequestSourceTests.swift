// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import Testing
import Wire

@testable import Load

@Suite struct RequestSourceTests {
  static func plan(_ choice: LoadPlan.Choice, paths: Int = 10, threads: Int = 1) -> LoadPlan {
    var plan = LoadPlan(
      endpoints: [Endpoint(IPAddress(ipv4: 0x7f00_0001), 80)], paths: (0..<paths).map { .init(path: "/\($0)") })
    plan.choice = choice
    plan.threads = threads
    return plan
  }

  @Test func zipfFollowsItsWeights() {
    var chooser = RequestChooser(Self.plan(.zipf(exponent: 0.9)), thread: 0)
    var counts = [Double](repeating: 0, count: 10)
    let draws = 200_000.0
    for _ in 0..<Int(draws) { counts[Int(chooser.next())] += 1 }
    let weights = (1...10).map { pow(Double($0), -0.9) }
    let sum = weights.reduce(0, +)
    for (rank, weight) in weights.enumerated() {
      let expected = weight / sum * draws
      // Six standard deviations.
      #expect(abs(counts[rank] - expected) < 6 * expected.squareRoot(), "rank \(rank): \(counts[rank]) of \(expected)")
    }
  }

  @Test func threadsTakeTurnsInASequence() {
    let order: [Int32] = [4, 2, 9, 4, 0, 7, 1]
    var choosers = (0..<2).map { RequestChooser(Self.plan(.sequence(order), threads: 2), thread: $0) }
    var seen: [Int32] = []
    for _ in 0..<7 { for thread in 0..<2 { seen.append(choosers[thread].next()) } }
    #expect(seen == order + order)
  }

  @Test func aHotPathGetsItsShare() {
    var plan = Self.plan(.cycle)
    plan.hotShare = 0.3
    var chooser = RequestChooser(plan, thread: 0)
    let hits = (0..<100_000).reduce(0) { sum, _ in sum + (chooser.next() == 0 ? 1 : 0) }
    // 30 %, and a tenth of the rest.
    #expect((36_000...38_000).contains(hits))
  }

  /// Gaps have the mean and, as only a memoryless process does, a standard deviation that is equal to it.
  @Test func arrivalsAreAPoissonProcess() {
    var arrivals = Arrivals(rate: 10_000, from: 5_000, seed: 3)
    var gaps: [Double] = []
    var last: UInt64 = 5_000
    for _ in 0..<100_000 {
      gaps.append(Double(arrivals.next - last))
      last = arrivals.next
      arrivals.advance()
    }
    let mean = gaps.reduce(0, +) / Double(gaps.count)
    let variance = gaps.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(gaps.count)
    #expect(abs(mean - 100_000) < 2_000)
    #expect(abs(variance.squareRoot() / mean - 1) < 0.03)
  }

  @Test func requestsSayWhetherTheirConnectionEnds() {
    var plan = Self.plan(.cycle, paths: 1)
    #expect(String(decoding: RequestTable(plan).bytes, as: UTF8.self).contains("Connection: close\r\n\r\n"))
    plan.isKeptAlive = true
    #expect(RequestTable(plan).bytes == Array("GET /0 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n".utf8))
  }

  struct Fault: Sendable, CustomTestStringConvertible {
    var name: String
    var change: @Sendable (inout LoadPlan) -> Void
    var testDescription: String { name }
  }

  @Test(arguments: [
    Fault(name: "pipelining without keep-alive") { $0.pipeline = 2 },
    Fault(name: "no paths") { $0.paths = [] },
    Fault(name: "fewer connections than threads") { plan in
      plan.threads = 3
      plan.connections = 2
    },
    Fault(name: "a sequence that names no path") { $0.choice = .sequence([10]) },
    Fault(name: "a source of the other family") { $0.sources = [IPAddress(high: 1, low: 1)] },
  ])
  func impossiblePlansAreNamed(_ fault: Fault) {
    var plan = Self.plan(.cycle)
    #expect(plan.complaint == nil)
    fault.change(&plan)
    #expect(plan.complaint != nil)
  }
}
