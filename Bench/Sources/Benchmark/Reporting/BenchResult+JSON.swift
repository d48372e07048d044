// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

extension BenchResult {
  private struct Whole: Encodable {
    struct System: Encodable {
      var kind: BenchSystem.Kind
      var explanation: String
    }
    var rounds: Int
    var seconds: Double
    var serverNodes: Int
    var fronts: Int
    var processors: Int
    var systems: [String: System]
    var absent: [String: String]
    var figures: [String: [String: Figure]]
    var samples: [String: [String: [Int: Sample]]]
    var churn: [String: Churn.Result]
    var idle: [String: IdleBench.Result]
  }

  /// Everything: figures, and every sample they come from.
  public func json() throws -> String {
    var figures: [String: [String: Figure]] = [:]
    for (workload, systems) in samples {
      for system in systems.keys { figures[workload, default: [:]][system] = figure(workload, system) }
    }
    let whole = Whole(
      rounds: rounds, seconds: seconds, serverNodes: servers, fronts: fronts, processors: Machine.processors,
      systems: Dictionary(
        uniqueKeysWithValues: systems.map { ($0.name, Whole.System(kind: $0.kind, explanation: $0.explanation)) }),
      absent: absent, figures: figures, samples: samples, churn: churn, idle: idle)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    return String(decoding: try encoder.encode(whole), as: UTF8.self)
  }

  private struct Short: Encodable {
    var cpuRatioToDirect: Double?
    var throughputRatioToDirect: Double?
    var errors: Int?
    /// Why the system was not measured.
    var absent: String?

    enum CodingKeys: String, CodingKey {
      case cpuRatioToDirect = "cpu_ratio_to_direct"
      case throughputRatioToDirect = "throughput_ratio_to_direct"
      case errors, absent
    }
  }

  /// workload -> system -> ratios and errors, on one line.
  public func line() throws -> String {
    var all: [String: [String: Short]] = [:]
    for (name, _) in workloads where samples[name] != nil {
      for system in measured(name) {
        guard let figure = figure(name, system) else { continue }
        all[name, default: [:]][system] = Short(
          cpuRatioToDirect: figure.cpuRatioToDirect, throughputRatioToDirect: figure.throughputRatioToDirect,
          errors: figure.errors)
      }
      for (system, reason) in absent { all[name, default: [:]][system] = Short(absent: reason) }
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    return String(decoding: try encoder.encode(all), as: UTF8.self)
  }
}
