// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Telemetry

@Suite struct LatencyHistogramTests {
  @Test func boundsGrowFromOneMicrosecondToTenSeconds() {
    let bounds = LatencyHistogram.bounds
    #expect(bounds.count == 71)
    #expect(bounds.first == 1_000)
    #expect(bounds.last == 10_000_000_000)
    for (low, high) in zip(bounds, bounds.dropFirst()) {
      #expect(low < high && Double(high) / Double(low) < 1.3)
    }
  }

  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var nanoseconds: UInt64
    /// First shown bound that counts it.
    var bound: String
    var testDescription: String { name }
  }

  @Test(arguments: [
    Case(name: "zero", nanoseconds: 0, bound: "1e-06"),
    Case(name: "a bound belongs to its bucket", nanoseconds: 1_000, bound: "1e-06"),
    Case(name: "one beyond the bound", nanoseconds: 1_001, bound: "1.6e-06"),
    Case(name: "middle", nanoseconds: 300_000, bound: "0.0004"),
    Case(name: "last bound", nanoseconds: 10_000_000_000, bound: "10"),
    Case(name: "beyond the last bound", nanoseconds: 10_000_000_001, bound: "+Inf"),
    Case(name: "largest value", nanoseconds: .max, bound: "+Inf"),
  ])
  func observationFallsIntoItsBucket(_ example: Case) throws {
    var histogram = LatencyHistogram()
    histogram.observe(nanoseconds: example.nanoseconds)
    let samples = histogram.samples(labels: [.init("role", "x")])
    let first = try #require(samples.first { $0.suffix == "_bucket" && $0.value == 1 })
    #expect(first.labels == [.init("role", "x"), .init("le", example.bound)])
    #expect(samples.last?.suffix == "_count" && samples.last?.value == 1)
  }

  @Test func shownBucketsAreCumulativeAndEndWithTheCount() {
    var random = SplitMix(state: 11)
    var histogram = LatencyHistogram()
    for _ in 0..<1_000 { histogram.observe(nanoseconds: random.next() >> (28 + random.next() % 30)) }
    let buckets = histogram.samples().filter { $0.suffix == "_bucket" }
    #expect(buckets.count == 37)
    #expect(zip(buckets, buckets.dropFirst()).allSatisfy { $0.value <= $1.value })
    #expect(buckets.last?.value == 1_000)
    #expect(buckets.last?.labels == [.init("le", "+Inf")])
  }

  @Test(arguments: [UInt64(1), 2, 3])
  func estimatesStayWithinTheBucketWidth(seed: UInt64) {
    var random = SplitMix(state: seed)
    var histogram = LatencyHistogram()
    var values: [UInt64] = []
    for _ in 0..<5_000 {
      let value = 1_000 + random.next() % (1 << (12 + random.next() % 20))
      values.append(value)
      histogram.observe(nanoseconds: value)
    }
    values.sort()
    for quantile in [0.01, 0.5, 0.9, 0.99, 1] {
      let exact = Double(values[max(0, Int((quantile * 5_000).rounded(.up)) - 1)])
      let estimate = Double(histogram.estimate(quantile: quantile))
      #expect(estimate / exact < 1.3 && exact / estimate < 1.3, "seed \(seed), quantile \(quantile)")
    }
  }

  @Test func estimateOfNothingAndOfTooMuch() {
    var histogram = LatencyHistogram()
    #expect(histogram.estimate(quantile: 0.5) == 0)
    histogram.observe(nanoseconds: .max)
    #expect(histogram.estimate(quantile: 0.5) == 10_000_000_000)
  }

  @Test func mergingEqualsObservingTogether() {
    var random = SplitMix(state: 5)
    var left = LatencyHistogram()
    var right = LatencyHistogram()
    var both = LatencyHistogram()
    for index in 0..<500 {
      let value = random.next() >> 30
      if index % 3 == 0 { left.observe(nanoseconds: value) } else { right.observe(nanoseconds: value) }
      both.observe(nanoseconds: value)
    }
    left.merge(right)
    #expect(left.samples() == both.samples())
    #expect(left.nanoseconds == both.nanoseconds)
  }

  @Test func whatCameAfterACopyIsTold() {
    var histogram = LatencyHistogram()
    for _ in 0..<100 { histogram.observe(nanoseconds: 1_000_000) }
    let before = histogram
    for _ in 0..<10 { histogram.observe(nanoseconds: 4500) }
    let after = histogram.since(before)
    #expect(after.count == 10)
    #expect(after.nanoseconds == 45_000)
    #expect((4000...5000).contains(after.estimate(quantile: 1)))
    #expect(histogram.since(histogram).count == 0)
  }
}

/// SplitMix64: a small seeded generator, the same on every machine.
struct SplitMix {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
