// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// A report in few figures.
public struct LoadSummary: Sendable, Codable {
  public var requests: Int
  public var failed: Int
  public var failures: [String: Int]
  public var reconnects: Int
  public var connections: Int
  public var seconds: Double
  public var requestsPerSecond: Double
  public var megabytesPerSecond: Double
  /// Microseconds: p50, p90, p99, p99.9, greatest.
  public var latency: [Double]
  public var connect: [Double]
  public var firstByte: [Double]
  public var lateness: [Double]
  public var ownCpuShare: Double
  public var ownCpuMicrosecondsPerRequest: Double

  public init(_ report: LoadReport) {
    requests = report.requests
    failed = report.failed
    failures = report.failures
    reconnects = report.reconnects
    connections = report.connections
    seconds = rounded(report.seconds)
    requestsPerSecond = rounded(report.requestsPerSecond)
    megabytesPerSecond = rounded(report.seconds > 0 ? Double(report.bytes) / report.seconds / 1e6 : 0)
    latency = LoadSummary.microseconds(report.latency)
    connect = LoadSummary.microseconds(report.connectTime)
    firstByte = LoadSummary.microseconds(report.firstByte)
    lateness = LoadSummary.microseconds(report.lateness)
    ownCpuShare = rounded(report.ownShare)
    ownCpuMicrosecondsPerRequest = rounded(report.ownMicroseconds)
  }

  private static func microseconds(_ histogram: Histogram) -> [Double] {
    [0.5, 0.9, 0.99, 0.999, 1].map { Double(histogram.quantile($0) / 100) / 10 }
  }

  public func json() throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    return String(decoding: try encoder.encode(self), as: UTF8.self)
  }

  public static func text(_ report: LoadReport) -> String {
    let summary = LoadSummary(report)
    var lines = [
      "\(summary.requests) requests in \(summary.seconds) s: \(summary.requestsPerSecond)/s, "
        + "\(summary.megabytesPerSecond) MB/s; \(summary.failed) failed \(summary.failures)",
      "connections \(summary.connections), opened again \(summary.reconnects)",
      "us              p50      p90      p99    p99.9      max",
    ]
    for (name, values) in [
      ("latency", summary.latency), ("connect", summary.connect), ("first byte", summary.firstByte),
      ("lateness", summary.lateness),
    ] {
      let cells = values.map { String(repeating: " ", count: max(1, 9 - "\($0)".count)) + "\($0)" }
      lines.append(name + String(repeating: " ", count: 10 - name.count) + cells.joined())
    }
    lines.append(
      "own CPU: \(summary.ownCpuShare) of \(report.threads) thread(s), "
        + "\(summary.ownCpuMicrosecondsPerRequest) us per request")
    return lines.joined(separator: "\n")
  }
}

private func rounded(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }
