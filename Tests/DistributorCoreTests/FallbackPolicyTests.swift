// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Testing
import Wire

@Suite struct FallbackPolicyTests {
  let policy = FallbackPolicy(key: KeyedHash(1, 2))

  func candidates(_ loads: [UInt32], weights: [UInt16]? = nil) -> [FallbackPolicy.Candidate] {
    loads.enumerated().map { index, load in
      FallbackPolicy.Candidate(backEnd: UInt16(index), weight: weights?[index] ?? 100, load: load)
    }
  }

  /// The macros cannot take a span apart.
  func choose(_ target: UInt64, _ candidates: [FallbackPolicy.Candidate], excluding excluded: UInt16? = nil) -> UInt16?
  {
    policy.choose(target: target, among: candidates.span, excluding: excluded)
  }

  @Test func nobodyToChooseFrom() {
    let none: [FallbackPolicy.Candidate] = []
    #expect(choose(1, none) == nil)
    let one = candidates([0])
    #expect(choose(1, one, excluding: 0) == nil)
    let unweighted = candidates([0, 0], weights: [0, 0])
    #expect(choose(1, unweighted) == nil)
  }

  @Test func theSameTargetGoesToTheSameBackEndAndSharesFollowWeights() throws {
    let idle = candidates([0, 0, 0, 0], weights: [100, 100, 100, 300])
    var counts = [0, 0, 0, 0]
    for target in 0..<6000 as Range<UInt64> {
      let first = try #require(choose(target, idle))
      #expect(choose(target, idle) == first)
      counts[Int(first)] += 1
    }
    // Expected 1000, 1000, 1000, 3000; six standard deviations are below 180 and 240.
    for light in 0..<3 { #expect(abs(counts[light] - 1000) < 180, "\(counts)") }
    #expect(abs(counts[3] - 3000) < 240, "\(counts)")
  }

  @Test func anotherBackEndGoesAndOnlyItsTargetsMove() throws {
    let all = candidates([0, 0, 0, 0])
    for target in 0..<500 as Range<UInt64> {
      let before = try #require(choose(target, all))
      let after = try #require(choose(target, all, excluding: 2))
      #expect(after == before || before == 2)
      #expect(after != 2)
    }
  }

  @Test func noLoadPassesItsBound() throws {
    var loads: [UInt32] = [0, 0, 0, 0]
    for total in 1...2000 as ClosedRange<Int> {
      let now = candidates(loads)
      // One hot target only: without the bound all of them would go to one back-end.
      let chosen = try #require(choose(7, now))
      loads[Int(chosen)] += 1
      let bound = (Double(total) * 1.25 / 4).rounded(.up)
      #expect(Double(loads[Int(chosen)]) <= bound, "\(loads)")
    }
  }
}
