// SPDX-License-Identifier: Apache-2.0

/// One metric with its samples, as a scrape shows it.
public struct MetricFamily: Sendable, Hashable {
  public enum Kind: String, Sendable { case counter, gauge, histogram }

  /// Without unit ambiguity and with the unit as suffix: `handoff_requests_total`, `handoff_duration_seconds`.
  public var name: String
  public var help: String
  public var kind: Kind
  public var samples: [Sample]

  public struct Sample: Sendable, Hashable {
    /// `_bucket`, `_sum` or `_count` of a histogram; empty otherwise.
    public var suffix: String
    /// Never unbounded values such as client addresses or URLs.
    public var labels: [Label]
    public var value: Double

    public init(suffix: String = "", labels: [Label] = [], value: Double) {
      self.suffix = suffix
      self.labels = labels
      self.value = value
    }
  }

  public struct Label: Sendable, Hashable {
    public var name: String
    public var value: String

    public init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  public init(_ name: String, help: String, kind: Kind, samples: [Sample]) {
    self.name = name
    self.help = help
    self.kind = kind
    self.samples = samples
  }
}
