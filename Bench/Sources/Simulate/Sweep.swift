// SPDX-License-Identifier: Apache-2.0

import DispatcherCore
import Foundation
import Simulator

/// All policies on one workload, for each number of nodes.
struct Sweep {
  /// In percent. What is best depends on the trace: near 125 where processors are the bottleneck, far above where disks are.
  static let boundedFactors: [UInt64] = [110, 125, 150, 200, 300, 400, 600]
  static let distributions: [Distribution] =
    PolicyName.allCases.filter { $0 != .boundedLoadHash }.map { .dispatcher($0) }
    + boundedFactors.map { .boundedHash(factorPercent: $0) } + [.globalCache, .globalMemory]

  let workload: Workload
  let nodes: [Int]
  let cacheBytes: Int
  /// By distribution, then by position in `nodes`.
  private(set) var results: [[SimulationResult]] = []
  let hardships: Hardships
  let persistence: PersistenceRuns

  init(_ workload: Workload, _ options: Options) {
    self.workload = workload
    nodes = options.nodes
    let cache = options.cacheMegabytes.map { $0 << 20 } ?? max(1 << 16, workload.footprint / 32)
    cacheBytes = cache
    for distribution in Sweep.distributions {
      results.append(
        options.nodes.map { nodes in Sweep.run(workload, distribution, nodes, cache, passes: options.passes) { _ in } })
    }
    let most = options.nodes.max() ?? 16
    hardships = Hardships(workload, nodes: most, cacheBytes: cache, passes: options.passes)
    persistence = PersistenceRuns(workload, nodes: min(8, most), cacheBytes: cache, passes: options.passes)
  }

  static func run(
    _ workload: Workload, _ distribution: Distribution, _ nodes: Int, _ cacheBytes: Int, passes: Int,
    _ change: (inout ClusterSimulation.Parameters) -> Void
  ) -> SimulationResult {
    var parameters = ClusterSimulation.Parameters()
    parameters.nodes = nodes
    parameters.cacheBytes = cacheBytes
    parameters.passes = passes
    change(&parameters)
    var simulation = ClusterSimulation(workload, distribution, parameters)
    return simulation.run()
  }

  func printTable() {
    print(
      "\(workload.name): \(workload.requests.count) requests, \(workload.sizes.count) targets, "
        + String(
          format: "%.1f MB, cache of a node %.2f MB (footprint / %.0f)", Double(workload.footprint) / 1_048_576,
          Double(cacheBytes) / 1_048_576, Double(workload.footprint) / Double(cacheBytes)))
    for (index, distribution) in Sweep.distributions.enumerated() {
      for (position, count) in nodes.enumerated() {
        Sweep.printRow(distribution.name, "\(count)", results[index][position])
      }
    }
    hardships.printTable()
    persistence.printTable()
  }

  static func printRow(_ name: String, _ nodes: String, _ result: SimulationResult) {
    let columns = [
      name.padding(toLength: 18, withPad: " ", startingAt: 0), nodes.padding(toLength: 14, withPad: " ", startingAt: 0),
      String(format: "%8.0f req/s", result.throughput), String(format: "miss %5.1f %%", result.missRatio * 100),
      String(format: "idle %5.1f %%", result.idle * 100),
      String(format: "cpu %5.1f %%", result.processorBusy * 100),
      String(format: "disk %5.1f %%", result.diskBusy * 100), String(format: "worst load %4d", result.highestLoad),
    ]
    print(columns.joined(separator: "  "))
  }

  /// The run with the most throughput among those policies; nil when there was none with so many nodes.
  private func best(_ names: [String], _ count: Int) -> SimulationResult? {
    guard let position = nodes.firstIndex(of: count) else { return nil }
    return Sweep.distributions.indices.filter { names.contains(Sweep.distributions[$0].name) }
      .map { results[$0][position] }.max { $0.throughput < $1.throughput }
  }

  static func number(_ value: Double) -> String { value.isFinite ? String(format: "%.3f", value) : "null" }

  /// LARD against the better of the two content-blind policies, LARD/R against bounded-load hashing at its best factor.
  var summary: String {
    let blind = [PolicyName.weightedRoundRobin.rawValue, PolicyName.leastConnections.rawValue]
    let bounded = Sweep.boundedFactors.map { "bounded-hash-\($0)" }
    func ratio(
      _ name: PolicyName, _ others: [String], _ count: Int, _ value: (SimulationResult) -> Double = { $0.throughput }
    ) -> String {
      guard let one = best([name.rawValue], count), let other = best(others, count) else { return "null" }
      return Sweep.number(value(one) / value(other))
    }
    var fields = [("cache_megabytes", String(format: "%.2f", Double(cacheBytes) / 1_048_576))]
    for count in [8, 16] {
      fields.append(("lard_over_wrr_\(count)", ratio(.lard, blind, count)))
      fields.append(("lardr_over_bounded_hash_\(count)", ratio(.replicatedLARD, bounded, count)))
      fields.append(("alard_over_bounded_hash_\(count)", ratio(.anchoredLARD, bounded, count)))
    }
    for (key, name) in [("lardr", PolicyName.replicatedLARD), ("alard", .anchoredLARD)] {
      fields.append(("\(key)_misses_over_bounded_hash_16", ratio(name, bounded, 16) { $0.missRatio }))
      fields.append(("\(key)_worst_load_over_bounded_hash_16", ratio(name, bounded, 16) { Double($0.highestLoad) }))
    }
    fields += hardships.summary + persistence.summary
    return "{" + fields.map { "\"\($0)\": \($1)" }.joined(separator: ", ") + "}"
  }

  func writePlots(to directory: String?) throws {
    guard let directory else { return }
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let plots: [(name: String, title: String, value: (SimulationResult) -> Double)] = [
      ("throughput", "requests per second", { $0.throughput }), ("miss-ratio", "miss ratio", { $0.missRatio }),
      ("idle", "share of time under-used", { $0.idle }),
    ]
    for plot in plots {
      var lines: [(String, [(Double, Double)])] = []
      for (index, distribution) in Sweep.distributions.enumerated() {
        lines.append((distribution.name, zip(nodes, results[index]).map { (Double($0), plot.value($1)) }))
      }
      let svg = LinePlot(title: "\(workload.name): \(plot.title) by number of nodes", lines: lines).svg
      try svg.write(toFile: "\(directory)/\(workload.name)-\(plot.name).svg", atomically: true, encoding: .utf8)
    }
  }
}
