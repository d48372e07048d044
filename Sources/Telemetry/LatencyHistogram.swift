// SPDX-License-Identifier: Apache-2.0

/// Durations counted in fixed buckets from 1 us to 10 s, ten to a decade.
///
/// A plain value of 592 bytes: an event loop counts into its own and publishes a copy, and the copies of several loops
/// are merged at the scrape. Bucket bounds follow the R10 series of preferred numbers (ISO 3), so that a quantile
/// estimate is off by less than 30 %. Prometheus is shown every second bound: 1, 1.6, 2.5, 4 and 6.3 of each decade.
public struct LatencyHistogram: Sendable, BitwiseCopyable {
  /// Observations per bucket, not cumulative; the last one is beyond 10 s.
  private var counts: InlineArray<72, UInt64>
  /// Sum of all observations in nanoseconds. Wraps after 584 years.
  public private(set) var nanoseconds: UInt64
  public private(set) var count: UInt64

  public init() {
    counts = InlineArray(repeating: 0)
    nanoseconds = 0
    count = 0
  }

  /// Counts one duration. Does not allocate, lock or trap.
  public mutating func observe(nanoseconds duration: UInt64) {
    counts[LatencyHistogram.bucket(of: duration)] &+= 1
    nanoseconds &+= duration
    count &+= 1
  }

  public mutating func merge(_ other: LatencyHistogram) {
    for index in counts.indices { counts[index] &+= other.counts[index] }
    nanoseconds &+= other.nanoseconds
    count &+= other.count
  }

  /// What was counted after `earlier`, an older copy of this histogram.
  public func since(_ earlier: LatencyHistogram) -> LatencyHistogram {
    var difference = self
    for index in counts.indices { difference.counts[index] &-= earlier.counts[index] }
    difference.nanoseconds &-= earlier.nanoseconds
    difference.count &-= earlier.count
    return difference
  }

  /// The duration in nanoseconds that a share `quantile` (0 to 1) of the observations did not exceed, interpolated
  /// within its bucket; 0 without observations, 10 s when it lies beyond the last bound.
  public func estimate(quantile: Double) -> UInt64 {
    guard count > 0 else { return 0 }
    let rank = max(1, (min(max(quantile, 0), 1) * Double(count)).rounded(.up))
    var below: UInt64 = 0
    for index in counts.indices where counts[index] > 0 {
      let upTo = below &+ counts[index]
      guard Double(upTo) >= rank else {
        below = upTo
        continue
      }
      guard index < LatencyHistogram.bounds.count else { break }
      let low = index == 0 ? 0 : Double(LatencyHistogram.bounds[index - 1])
      let high = Double(LatencyHistogram.bounds[index])
      return UInt64(low + (high - low) * (rank - Double(below)) / Double(counts[index]))
    }
    return LatencyHistogram.bounds[LatencyHistogram.bounds.count - 1]
  }

  /// Upper bounds in nanoseconds, inclusive as Prometheus wants them.
  static let bounds: [UInt64] = {
    let mantissas: [UInt64] = [100, 125, 160, 200, 250, 315, 400, 500, 630, 800]
    var bounds: [UInt64] = []
    var unit: UInt64 = 10
    while unit < 100_000_000 {
      bounds += mantissas.map { $0 * unit }
      unit *= 10
    }
    bounds.append(10_000_000_000)
    return bounds
  }()

  /// Index of the first bound that is not below `duration`.
  private static func bucket(of duration: UInt64) -> Int {
    var low = 0
    var high = bounds.count
    while low < high {
      let middle = (low + high) / 2
      if bounds[middle] < duration { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// As a Prometheus histogram in seconds: 36 buckets, five to a decade from 1 us to 10 s, and `+Inf`.
  ///
  /// - Parameter name: ends in `_seconds`.
  public func family(name: String, help: String, labels: [MetricFamily.Label] = []) -> MetricFamily {
    MetricFamily(name, help: help, kind: .histogram, samples: samples(labels: labels))
  }

  /// The samples alone, for families with one histogram per label value.
  public func samples(labels: [MetricFamily.Label] = []) -> [MetricFamily.Sample] {
    var samples: [MetricFamily.Sample] = []
    var cumulative: UInt64 = 0
    for (index, bound) in LatencyHistogram.bounds.enumerated() {
      cumulative &+= counts[index]
      guard index.isMultiple(of: 2) else { continue }
      let label = MetricFamily.Label("le", PrometheusText.number(Double(bound) / 1e9))
      samples.append(.init(suffix: "_bucket", labels: labels + [label], value: Double(cumulative)))
    }
    samples.append(.init(suffix: "_bucket", labels: labels + [.init("le", "+Inf")], value: Double(count)))
    samples.append(.init(suffix: "_sum", labels: labels, value: Double(nanoseconds) / 1e9))
    samples.append(.init(suffix: "_count", labels: labels, value: Double(count)))
    return samples
  }
}
