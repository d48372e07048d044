// SPDX-License-Identifier: Apache-2.0

import DispatcherCore
import Simulator

/// The same requests on persistent connections (USENIX 1999): all of a connection served where it was handed to, or each
/// later request placed by extended LARD.
struct PersistenceRuns {
  private let rows: [(name: String, result: SimulationResult)]
  private let nodes: Int

  init(_ workload: Workload, nodes: Int, cacheBytes: Int, passes: Int) {
    self.nodes = nodes
    let runs: [(String, PolicyName, ClusterSimulation.Persistence)] = [
      ("least-connections", .leastConnections, .none), ("least-connections", .leastConnections, .singleHandoff),
      ("lard", .lard, .none), ("lard", .lard, .singleHandoff), ("lard-extended", .extendedLARD, .none),
      ("lard-extended", .extendedLARD, .perRequest),
    ]
    rows = runs.map { name, policy, persistence in
      let result = Sweep.run(workload, .dispatcher(policy), nodes, cacheBytes, passes: passes) {
        $0.persistence = persistence
      }
      let title =
        switch persistence {
        case .none: "http/1.0"
        case .singleHandoff: "one handoff"
        case .perRequest: "per request"
        }
      return ("\(name)|\(title)", result)
    }
  }

  func printTable() {
    for row in rows {
      let parts = row.name.split(separator: "|")
      Sweep.printRow(String(parts[0]), "\(nodes), \(parts[1])", row.result)
    }
  }

  private func throughput(_ name: String) -> Double { rows.first { $0.name == name }?.result.throughput ?? .nan }

  var summary: [(String, String)] {
    let lard = throughput("lard|http/1.0")
    let single = throughput("lard|one handoff")
    let extended = throughput("lard-extended|per request")
    let blind = throughput("least-connections|one handoff")
    return [
      ("persistent_one_handoff_over_http10_\(nodes)", Sweep.number(single / lard)),
      ("persistent_per_request_over_one_handoff_\(nodes)", Sweep.number(extended / single)),
      ("persistent_per_request_over_http10_\(nodes)", Sweep.number(extended / lard)),
      ("persistent_per_request_over_wrr_\(nodes)", Sweep.number(extended / blind)),
    ]
  }
}
