// SPDX-License-Identifier: Apache-2.0

import DispatcherCore
import Simulator

/// A node that fails and comes back cold, and a flash crowd: policies that replicate against bounded-load hashing at each
/// of its factors.
struct Hardships {
  enum Kind: String, CaseIterable {
    case failing
    case crowd
  }

  private static let contenders: [Distribution] =
    [.lard, .replicatedLARD, .anchoredLARD].map { .dispatcher($0) }
    + Sweep.boundedFactors.map { .boundedHash(factorPercent: $0) }

  private let nodes: Int
  private var results: [Kind: [SimulationResult]] = [:]

  init(_ workload: Workload, nodes: Int, cacheBytes: Int, passes: Int) {
    self.nodes = nodes
    let crowd = workload.withFlashCrowd(0.5, seed: 1)
    for kind in Kind.allCases {
      results[kind] = Hardships.contenders.map { distribution in
        Sweep.run(kind == .crowd ? crowd : workload, distribution, nodes, cacheBytes, passes: passes) {
          if kind == .failing { $0.failingNode = 0 }
        }
      }
    }
  }

  func printTable() {
    for kind in Kind.allCases {
      for (index, distribution) in Hardships.contenders.enumerated() {
        guard let result = results[kind]?[index] else { continue }
        Sweep.printRow(distribution.name, "\(nodes), \(kind.rawValue)", result)
      }
    }
  }

  /// Ratios of throughput to bounded-load hashing at its best factor, and of the worst load of a node to that of the same.
  var summary: [(String, String)] {
    var fields: [(String, String)] = []
    for kind in Kind.allCases {
      let rows = results[kind] ?? []
      guard let best = rows.dropFirst(3).max(by: { $0.throughput < $1.throughput }) else { continue }
      for (index, name) in ["lard", "lardr", "alard"].enumerated() {
        let row = rows[index]
        fields.append(
          ("\(name)_over_bounded_hash_\(nodes)_\(kind.rawValue)", Sweep.number(row.throughput / best.throughput)))
        fields.append(
          (
            "\(name)_worst_load_over_bounded_hash_\(nodes)_\(kind.rawValue)",
            Sweep.number(Double(row.highestLoad) / Double(max(1, best.highestLoad)))
          ))
      }
    }
    return fields
  }
}
