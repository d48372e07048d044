// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// What a bench found.
public struct BenchResult: Sendable {
  /// In the order of the report.
  public private(set) var systems: [BenchSystem]
  private(set) var workloads: [(name: String, title: String)] = []
  /// By workload, system and round.
  private(set) var samples: [String: [String: [Int: Sample]]] = [:]
  /// Why a system was not measured.
  public internal(set) var absent: [String: String] = [:]
  var churn: [String: Churn.Result] = [:]
  var idle: [String: IdleBench.Result] = [:]
  /// What a system left behind when it was stopped.
  public internal(set) var complaints: [String] = []
  let rounds: Int
  let seconds: Double
  let servers: Int
  let fronts: Int

  init(_ bench: Bench) {
    systems = bench.systems
    rounds = bench.rounds
    seconds = bench.seconds
    servers = bench.servers
    fronts = bench.fronts
    let again = bench.workloads.filter { bench.withoutOffloads.contains($0.name) }.map(\.withoutOffloads)
    let idle = bench.idleConnections
    workloads =
      (bench.workloads + again).map { ($0.name, $0.title) }
      + (idle > 0 ? [(IdleBench.name(idle), IdleBench.title(idle))] : [])
      + bench.cacheWorkloads.map { ($0.name, $0.title) }
  }

  mutating func add(_ sample: Sample, _ workload: String, _ system: String, _ round: Int) {
    samples[workload, default: [:]][system, default: [:]][round] = sample
  }

  /// The load generator's options for a workload; the rate of an open loop follows from what the reference has reached.
  func options(for workload: Workload) -> [String] {
    var options = ["--connections", "\(workload.connections)"] + (workload.isKeptAlive ? ["--keep-alive"] : [])
    if case .open(let share) = workload.pace {
      let reached = samples["new-8KB"]?["direct"]?.values.map(\.requestsPerSecond) ?? []
      options += ["--rate", "\(Int(reached.isEmpty ? 500 : median(reached) * share))"]
    }
    return options
  }

  /// Names of the systems measured with a workload, in the report's order.
  func measured(_ workload: String) -> [String] {
    let known = systems.map(\.name)
    let all = samples[workload] ?? [:]
    return known.filter { all[$0] != nil } + all.keys.filter { !known.contains($0) }.sorted()
  }

  /// One system under one workload: medians over the rounds; ratios are medians of the ratios within rounds.
  struct Figure: Codable, Sendable {
    var requestsPerSecond: Double
    var cpuMicroseconds: Double
    var machineMicroseconds: Double
    var roles: [String: Double]
    var p50: Double
    var p99: Double
    var p999: Double
    var frontBytes: Double
    var clientShare: Double
    var hitRatio: Double?
    var throughputRatioToDirect: Double
    var throughputRatioToBestPeer: Double?
    var cpuRatioToDirect: Double
    var cpuRatioToBestPeer: Double?
    /// Least and greatest ratio to direct within a round.
    var cpuRatioSpread: [Double]
    var throughputRatioSpread: [Double]
    var errors: Int
    var failures: [String: Int]
  }

  func figure(_ workload: String, _ system: String) -> Figure? {
    guard let all = samples[workload], let own = all[system], !own.isEmpty else { return nil }
    let values = Array(own.values)
    func middle(_ value: (Sample) -> Double) -> Double { median(values.map(value)) }
    func ratios(to other: String?, _ value: (Sample) -> Double) -> [Double] {
      guard let other, let reference = all[other] else { return [] }
      return own.compactMap { round, sample in reference[round].map { value(sample) / max(value($0), 1e-9) } }
    }
    let cpu = ratios(to: "direct") { $0.cpuMicroseconds }
    let throughput = ratios(to: "direct") { $0.requestsPerSecond }
    let peer = bestPeer(workload)
    var roles: [String: Double] = [:]
    for role in Set(values.flatMap(\.roles.keys)) { roles[role] = middle { $0.roles[role] ?? 0 } }
    let hits = values.compactMap(\.hitRatio)
    return Figure(
      requestsPerSecond: middle { $0.requestsPerSecond }, cpuMicroseconds: middle { $0.cpuMicroseconds },
      machineMicroseconds: middle { $0.machineMicroseconds }, roles: roles, p50: middle { $0.p50 },
      p99: middle { $0.p99 },
      p999: middle { $0.p999 }, frontBytes: middle { $0.frontBytes }, clientShare: middle { $0.clientShare },
      hitRatio: hits.isEmpty ? nil : median(hits), throughputRatioToDirect: hundredths(median(throughput)),
      throughputRatioToBestPeer: peer.map { hundredths(median(ratios(to: $0) { $0.requestsPerSecond })) },
      cpuRatioToDirect: hundredths(median(cpu)),
      cpuRatioToBestPeer: peer.map { hundredths(median(ratios(to: $0) { $0.cpuMicroseconds })) },
      cpuRatioSpread: [hundredths(cpu.min() ?? 0), hundredths(cpu.max() ?? 0)],
      throughputRatioSpread: [hundredths(throughput.min() ?? 0), hundredths(throughput.max() ?? 0)],
      errors: values.reduce(0) { $0 + $1.errors },
      failures: values.reduce(into: [:]) { $0.merge($1.failures, uniquingKeysWith: +) })
  }

  /// The peer with the highest median throughput.
  func bestPeer(_ workload: String) -> String? {
    let peers = Set(systems.filter { $0.kind == .peer }.map(\.name))
    return samples[workload]?.filter { peers.contains($0.key) }.max { left, right in
      median(left.value.values.map(\.requestsPerSecond)) < median(right.value.values.map(\.requestsPerSecond))
    }?.key
  }

  /// Requests that failed on this cluster, churn left out.
  public var ownErrors: Int {
    var sum = 0
    for systems in samples.values {
      for (name, rounds) in systems where name.hasPrefix(BenchSystem.handoff.name) {
        sum += rounds.values.reduce(0) { $0 + $1.errors }
      }
    }
    return sum
  }
}

/// 0 for nothing.
func median(_ values: [Double]) -> Double {
  if values.isEmpty { return 0 }
  let sorted = values.sorted()
  let middle = sorted.count / 2
  return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

func hundredths(_ value: Double) -> Double { (value * 100).rounded() / 100 }
