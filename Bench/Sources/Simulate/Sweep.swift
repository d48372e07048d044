// SPDX-License-Identifier: Apache-2.0

import DispatcherCore
import Foundation
import Simulator

/// All policies on one workload, for each number of nodes.
struct Sweep {
  static let distributions: [Distribution] =
    PolicyName.allCases.filter { $0 != .boundedLoadHash }.map { .dispatcher($0) }
    + [110, 125, 150, 200].map { .boundedHash(factorPercent: $0) } + [.globalCache, .globalMemory]

  let workload: Workload
  let nodes: [Int]
  /// By distribution, then by position in `nodes`.
  private(set) var results: [[SimulationResult]] = []
  /// The same at the largest number of nodes, one of which fails and comes back.
  private(set) var failing: [SimulationResult] = []

  init(_ workload: Workload, _ options: Options) {
    self.workload = workload
    nodes = options.nodes
    for distribution in Sweep.distributions {
      var row: [SimulationResult] = []
      for count in options.nodes { row.append(Sweep.run(workload, distribution, count, options, failing: nil)) }
      results.append(row)
      failing.append(Sweep.run(workload, distribution, options.nodes.max() ?? 8, options, failing: 0))
    }
  }

  private static func run(
    _ workload: Workload, _ distribution: Distribution, _ nodes: Int, _ options: Options, failing: Int?
  ) -> SimulationResult {
    var parameters = ClusterSimulation.Parameters()
    parameters.nodes = nodes
    parameters.cacheBytes = options.cacheMegabytes << 20
    parameters.failingNode = failing
    var simulation = ClusterSimulation(workload, distribution, parameters)
    return simulation.run()
  }

  func printTable() {
    print(
      "\(workload.name): \(workload.requests.count) requests, \(workload.sizes.count) targets, "
        + "\(workload.footprint >> 20) MB")
    for (index, distribution) in Sweep.distributions.enumerated() {
      for (position, count) in nodes.enumerated() { printRow(distribution, "\(count)", results[index][position]) }
      printRow(distribution, "\(nodes.max() ?? 8)-1+1", failing[index])
    }
  }

  private func printRow(_ distribution: Distribution, _ nodes: String, _ result: SimulationResult) {
    let columns = [
      distribution.name.padding(toLength: 18, withPad: " ", startingAt: 0),
      nodes.padding(toLength: 8, withPad: " ", startingAt: 0), String(format: "%8.0f req/s", result.throughput),
      String(format: "miss %5.1f %%", result.missRatio * 100), String(format: "idle %5.1f %%", result.idle * 100),
      String(format: "worst load %4d", result.highestLoad),
    ]
    print(columns.joined(separator: "  "))
  }

  private func throughput(_ names: [String], _ count: Int) -> Double {
    guard let position = nodes.firstIndex(of: count) else { return .nan }
    var best = 0.0
    for (index, distribution) in Sweep.distributions.enumerated() where names.contains(distribution.name) {
      best = max(best, results[index][position].throughput)
    }
    return best
  }

  /// LARD against the better of the two content-blind policies, LARD/R against bounded-load hashing at its best factor.
  var summary: String {
    let blind = [PolicyName.weightedRoundRobin.rawValue, PolicyName.leastConnections.rawValue]
    let bounded = [110, 125, 150, 200].map { "bounded-hash-\($0)" }
    func ratio(_ names: [String], _ others: [String], _ count: Int) -> String {
      let value = throughput(names, count) / throughput(others, count)
      return value.isFinite ? String(format: "%.3f", value) : "null"
    }
    return "{\"lard_over_wrr_8\": \(ratio(["lard"], blind, 8)), \"lard_over_wrr_16\": \(ratio(["lard"], blind, 16)), "
      + "\"lardr_over_bounded_hash_16\": \(ratio(["lard-r"], bounded, 16))}"
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
