// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Load

/// One system that is up, with its server nodes and its accounts.
final class RunningSystem {
  let system: BenchSystem
  let cluster: Cluster
  let accounting: Accounting

  init(_ system: BenchSystem, _ plan: ClusterPlan) throws(LabError) {
    self.system = system
    do {
      cluster = try Cluster.start(plan, site: Site(seed: Documents.seed, pages: []))
    } catch {
      throw LabError("\(system.name) did not start: \(error)")
    }
    accounting = Accounting(cluster)
  }

  /// Runs the load generator with these options and takes the accounts of the time.
  func measure(_ options: [String], seconds: Double, seed: Int = 1) throws(LabError) -> Sample {
    let before = accounting.now()
    let report = try LoadProcess(cluster, options + ["--seconds", "\(seconds)"], seed: seed).finish(
      within: seconds + 30)
    return Sample(report, accounting.now().since(before))
  }

  /// Requests with every byte compared; returns what is wrong, nil when all was right.
  func verify(_ options: [String], requests: Int) throws(LabError) -> String? {
    let load = try LoadProcess(
      cluster, options + ["--verify", "\(Documents.seed)", "--requests", "\(requests)", "--seconds", "20"])
    let report = try load.finish(within: 60)
    return report.failed > 0 ? "of \(requests) requests failed: \(report.failures)" : nil
  }

  func stop() -> [String] {
    waitForConnections()
    let complaints = cluster.stop()
    accounting.remove()
    return complaints.map { "\(system.name): \($0)" }
  }

  /// Lets connections end that clients left in the middle. All nodes are told to end at the same time: what the clients still
  /// send would not reach the agents any more, which wait for their connections.
  private func waitForConnections() {
    guard system.front == .handoff else { return }
    _ = try? Eventually.within(10) {
      try cluster.nodes.filter { $0.web != nil }.reduce(0.0) {
        try $0 + cluster.metrics(of: $1)["handoff_backend_connections_active"]
      }
    } until: {
      $0 == 0
    }
  }
}
