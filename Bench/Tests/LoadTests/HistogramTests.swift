// SPDX-License-Identifier: Apache-2.0

import Foundation
import Lab
import Testing

@testable import Load

@Suite struct HistogramTests {
  /// Every quantile is at most 0.8 % above the exact one, never below.
  @Test(arguments: [UInt64(1), 7, 99])
  func quantilesAreNearTheExactOnes(_ seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var histogram = Histogram()
    var values: [UInt64] = []
    for _ in 0..<20_000 {
      // From nanoseconds to minutes.
      let value = random.next() >> (24 + random.next() % 39)
      values.append(value)
      histogram.add(value)
    }
    values.sort()
    for share in [0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1] {
      let exact = values[max(1, Int((share * Double(values.count)).rounded(.up))) - 1]
      let found = histogram.quantile(share)
      #expect(
        found >= exact && Double(found) <= Double(exact) * 1.008 + 1, "seed \(seed), \(share): \(found) for \(exact)")
    }
    #expect(histogram.count == 20_000)
    #expect(histogram.maximum == values.last)
  }

  @Test func whatIsTooLongCountsAsTheLongest() {
    var histogram = Histogram()
    histogram.add(.max)
    #expect(histogram.count == 1)
    #expect(histogram.quantile(0.5) == (1 << 42) - 1)
  }

  @Test func histogramsAddUpAndSurviveJSON() throws {
    var one = Histogram()
    var two = Histogram()
    for value in 0..<1000 as Range<UInt64> {
      one.add(value * 1000)
      two.add(value * 777)
    }
    let again = try JSONDecoder().decode(Histogram.self, from: try JSONEncoder().encode(one))
    #expect(again == one)
    one.merge(two)
    #expect(one.count == 2000)
    #expect(one.quantile(1) == 999_000)
  }

  @Test func anEmptyHistogramSaysZero() {
    #expect(Histogram().quantile(0.99) == 0)
    #expect(Histogram().mean == 0)
  }
}
