// SPDX-License-Identifier: Apache-2.0

public import Wire

/// The rule by which a worker decides while the dispatcher cannot be asked: weighted rendezvous hashing with bounded
/// loads (Mirrokni, Thorup, Zadimoghaddam 2018), over the back-ends and states that the dispatcher last told.
///
/// Every worker ranks the back-ends of a target alike, so locality is kept; a worker knows only the connections that it
/// handed off itself, so the bound holds per worker.
public struct FallbackPolicy: Sendable {
  public struct Candidate: Sendable, BitwiseCopyable {
    public var backEnd: UInt16
    public var weight: UInt16
    /// Connections that this worker handed to the back-end and that have not ended.
    public var load: UInt32

    public init(backEnd: UInt16, weight: UInt16, load: UInt32) {
      self.backEnd = backEnd
      self.weight = weight
      self.load = load
    }
  }

  /// A back-end takes at most this share of the average load, in percent.
  public static let boundPercent: UInt64 = 125

  private let hash: KeyedHash

  public init(key: KeyedHash) { hash = key }

  /// The candidate that ranks first for `target` among those below their bound; nil when there is none at all.
  public func choose(target: UInt64, among candidates: Span<Candidate>, excluding excluded: UInt16?) -> UInt16? {
    var totalLoad: UInt64 = 1
    var totalWeight: UInt64 = 0
    for index in candidates.indices where candidates[index].backEnd != excluded {
      totalLoad += UInt64(candidates[index].load)
      totalWeight += UInt64(candidates[index].weight)
    }
    if totalWeight == 0 { return nil }
    var best: (backEnd: UInt16, score: Double)?
    for index in candidates.indices {
      let candidate = candidates[index]
      if candidate.backEnd == excluded || candidate.weight == 0 { continue }
      // ceil(factor * total * weight / totalWeight): the sum over all candidates exceeds the total, so one is below.
      let bound =
        (totalLoad * UInt64(candidate.weight) * FallbackPolicy.boundPercent + totalWeight * 100 - 1)
        / (totalWeight * 100)
      if UInt64(candidate.load) >= bound { continue }
      let score = self.score(target: target, candidate)
      if best == nil || score > best!.score { best = (candidate.backEnd, score) }
    }
    return best?.backEnd
  }

  /// Weighted rendezvous score -w / ln(u) with u uniform in (0, 1) (Schindelhauer, Schomaker 2005).
  private func score(target: UInt64, _ candidate: Candidate) -> Double {
    let words: InlineArray<2, UInt64> = [target, UInt64(candidate.backEnd)]
    var bytes = InlineArray<16, UInt8>(repeating: 0)
    for word in 0..<2 {
      for byte in 0..<8 { bytes[word * 8 + byte] = UInt8(truncatingIfNeeded: words[word] >> UInt64(byte * 8)) }
    }
    // 53 bits, shifted by a half step so that neither 0 nor 1 occurs.
    let uniform = (Double(hash.hash(bytes.span) >> 11) + 0.5) / 9_007_199_254_740_992
    return Double(candidate.weight) / -FallbackPolicy.naturalLogarithm(uniform)
  }

  /// ln(x) for 0 < x < 1 without a mathematics library: x = m * 2^e, series of 2 atanh((m-1)/(m+1)).
  private static func naturalLogarithm(_ x: Double) -> Double {
    let mantissa = x.significand
    let ratio = (mantissa - 1) / (mantissa + 1)
    let square = ratio * ratio
    var term = ratio
    var sum = 0.0
    for divisor in stride(from: 1.0, through: 25.0, by: 2.0) {
      sum += term / divisor
      term *= square
    }
    return 2 * sum + Double(x.exponent) * 0.693_147_180_559_945_3
  }
}
