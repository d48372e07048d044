// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A stream of target hashes with Zipf popularity, drawn by inverting the cumulative distribution.
struct ZipfTargets {
  private var cumulative: [Double]
  private var state: UInt64

  /// - Parameter exponent: 0.8 to 1.0 in web traces (Breslau et al. 1999).
  init(targets: Int, exponent: Double, seed: UInt64) {
    cumulative = []
    cumulative.reserveCapacity(targets)
    var sum = 0.0
    for rank in 1...targets {
      sum += pow(Double(rank), -exponent)
      cumulative.append(sum)
    }
    state = seed
  }

  private mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    return ZipfTargets.mix(state)
  }

  /// The hash of the target of the next request.
  mutating func nextTarget() -> UInt64 {
    let point = Double(next() >> 11) / Double(1 << 53) * cumulative[cumulative.count - 1]
    var low = 0
    var high = cumulative.count - 1
    while low < high {
      let middle = (low + high) / 2
      if cumulative[middle] < point { low = middle + 1 } else { high = middle }
    }
    return ZipfTargets.hash(rank: low)
  }

  /// A uniform hash for a rank, as the keyed hash of a URL would be.
  static func hash(rank: Int) -> UInt64 { mix(UInt64(rank) &+ 0x5851_f42d_4c95_7f2d) }

  private static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
