// SPDX-License-Identifier: Apache-2.0

/// A scrape of /metrics in the Prometheus text format.
public struct Metrics: Sendable {
  public struct Sample: Sendable {
    public var name: String
    public var labels: [String: String]
    public var value: Double
  }

  public private(set) var samples: [Sample] = []

  /// Lines that are no samples are skipped.
  public init(parsing text: String) {
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      if let sample = Metrics.sample(line) { samples.append(sample) }
    }
  }

  /// The sum of all samples of a name; 0 when there is none.
  public subscript(name: String) -> Double { self[name, [:]] }

  /// The sum of all samples of a name that have these labels.
  public subscript(name: String, labels: [String: String]) -> Double {
    samples.lazy.filter { sample in
      sample.name == name && labels.allSatisfy { sample.labels[$0.key] == $0.value }
    }.reduce(0) { $0 + $1.value }
  }

  /// Samples of several processes together, each with its process' name as label `node`.
  public static func merging(_ all: [String: Metrics]) -> Metrics {
    var result = Metrics(parsing: "")
    for (node, metrics) in all {
      result.samples += metrics.samples.map { sample in
        var sample = sample
        sample.labels["node"] = node
        return sample
      }
    }
    return result
  }

  /// What was counted since an earlier scrape of the same processes.
  public func since(_ earlier: Metrics) -> Metrics {
    var before: [Key: Double] = [:]
    for sample in earlier.samples { before[Key(sample), default: 0] += sample.value }
    var result = self
    result.samples = samples.map { sample in
      var sample = sample
      sample.value -= before[Key(sample)] ?? 0
      return sample
    }
    return result
  }

  private struct Key: Hashable {
    var name: String
    var labels: [String: String]

    init(_ sample: Sample) {
      name = sample.name
      labels = sample.labels
    }
  }

  /// Quantile of a histogram in its own unit, interpolated within the bucket; nil without observations.
  public func quantile(_ quantile: Double, of histogram: String) -> Double? {
    var cumulative: [Double: Double] = [:]
    for sample in samples where sample.name == "\(histogram)_bucket" {
      guard let text = sample.labels["le"], let bound = text == "+Inf" ? .infinity : Double(text) else { continue }
      cumulative[bound, default: 0] += sample.value
    }
    let bounds = cumulative.keys.sorted()
    guard let last = bounds.last, let total = cumulative[last], total > 0 else { return nil }
    let rank = quantile * total
    var lower = (bound: 0.0, count: 0.0)
    for bound in bounds {
      let count = cumulative[bound] ?? 0
      if count >= rank {
        if bound.isInfinite || count == lower.count { return lower.bound }
        return lower.bound + (bound - lower.bound) * (rank - lower.count) / (count - lower.count)
      }
      lower = (bound, count)
    }
    return lower.bound
  }

  private static func sample(_ line: Substring) -> Sample? {
    var rest = line
    let name = rest.prefix { $0 != "{" && $0 != " " }
    rest = rest.dropFirst(name.count)
    var labels: [String: String] = [:]
    if rest.first == "{" {
      guard let close = rest.lastIndex(of: "}") else { return nil }
      // Label values of this project hold no quotes or commas.
      for pair in rest[rest.index(after: rest.startIndex)..<close].split(separator: ",") {
        let parts = pair.split(separator: "=", maxSplits: 1)
        if parts.count == 2 { labels[String(parts[0])] = String(parts[1].dropFirst().dropLast()) }
      }
      rest = rest[rest.index(after: close)...]
    }
    guard let value = rest.split(separator: " ").first.flatMap({ Double($0) }) else { return nil }
    return Sample(name: String(name), labels: labels, value: value)
  }
}
