// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// What a comparison found.
public struct ComparisonResult: Sendable {
  let workloads: [Comparison.Workload]
  let samples: [String: [Comparison.System: [Comparison.Sample]]]
  /// Median and 99th percentile of the handoff, in microseconds.
  let handoffLatency: [Double]?

  private static let systems = Comparison.System.allCases

  /// One system under one workload: medians over the rounds; ratios are medians of the ratios within rounds.
  struct Figure: Codable, Sendable {
    var requestsPerSecond: Double
    var cpuUsPerRequest: Double
    var agentCPUUsPerRequest: Double
    var latencyUsP50: Double
    var latencyUsP99: Double
    var throughputRatioToDirect: Double
    var cpuRatioToDirect: Double
    /// Least and greatest ratio of processor time within a round.
    var cpuRatioSpread: [Double]
    var errors: Int

    enum CodingKeys: String, CodingKey {
      case requestsPerSecond = "requests_per_second"
      case cpuUsPerRequest = "cpu_us_per_request"
      case agentCPUUsPerRequest = "agent_cpu_us_per_request"
      case latencyUsP50 = "latency_us_p50"
      case latencyUsP99 = "latency_us_p99"
      case throughputRatioToDirect = "throughput_ratio_to_direct"
      case cpuRatioToDirect = "cpu_ratio_to_direct"
      case cpuRatioSpread = "cpu_ratio_spread"
      case errors
    }
  }

  func figure(_ workload: String, _ system: Comparison.System) -> Figure? {
    guard let own = samples[workload]?[system], let direct = samples[workload]?[.direct] else { return nil }
    let rounds = zip(own, direct)
    let processor = rounds.map { $0.processorTime / $1.processorTime }
    return Figure(
      requestsPerSecond: median(own.map(\.requestsPerSecond)).rounded(),
      cpuUsPerRequest: median(own.map(\.processorTime)).rounded(),
      agentCPUUsPerRequest: median(own.map(\.agentTime)).rounded(),
      latencyUsP50: median(own.map(\.latencyP50)).rounded(), latencyUsP99: median(own.map(\.latencyP99)).rounded(),
      throughputRatioToDirect: hundredths(median(rounds.map { $0.requestsPerSecond / $1.requestsPerSecond })),
      cpuRatioToDirect: hundredths(median(processor)),
      cpuRatioSpread: [hundredths(processor.min() ?? 0), hundredths(processor.max() ?? 0)],
      errors: own.reduce(0) { $0 + $1.errors })
  }

  /// Whether any measurement had an error.
  public var hasErrors: Bool { samples.values.contains { $0.values.contains { $0.contains { $0.errors > 0 } } } }

  public func table() -> String {
    var lines = [
      "workload         system    req/s   to direct   CPU us/req  agents   to direct (spread)      p50 us   p99 us  errors"
    ]
    for workload in workloads {
      for system in ComparisonResult.systems {
        guard let figure = figure(workload.name, system) else { continue }
        lines.append(
          [
            workload.name.padded(16), system.rawValue.padded(8), number(figure.requestsPerSecond, 7),
            number(figure.throughputRatioToDirect, 10), number(figure.cpuUsPerRequest, 12),
            number(figure.agentCPUUsPerRequest, 7),
            number(figure.cpuRatioToDirect, 10), "(\(figure.cpuRatioSpread[0])-\(figure.cpuRatioSpread[1]))".padded(14),
            number(figure.latencyUsP50, 8), number(figure.latencyUsP99, 8), "\(figure.errors)",
          ].joined(separator: " "))
      }
    }
    if let handoffLatency {
      lines.append(
        "handoff, complete request head to the back-end's acceptance: "
          + "p50 \(Int(handoffLatency[0])) us, p99 \(Int(handoffLatency[1])) us over all workloads")
    }
    return lines.joined(separator: "\n")
  }

  /// workload -> system -> figures, on one line.
  public func json() throws -> String {
    var all: [String: [String: Figure]] = [:]
    for workload in workloads {
      for system in ComparisonResult.systems {
        all[workload.name, default: [:]][system.rawValue] = figure(workload.name, system)
      }
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    return String(decoding: try encoder.encode(all), as: UTF8.self)
  }

  private func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    if sorted.isEmpty { return 0 }
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }

  private func hundredths(_ value: Double) -> Double { (value * 100).rounded() / 100 }

  private func number(_ value: Double, _ width: Int) -> String {
    let text = value == value.rounded() ? "\(Int(value))" : "\(value)"
    return String(repeating: " ", count: max(0, width - text.count)) + text
  }
}

extension String {
  fileprivate func padded(_ width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}
