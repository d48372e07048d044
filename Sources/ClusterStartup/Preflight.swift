// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import Distributor
import NodeChecks
import Wire

/// Checks whether the environment has what a plan needs, before anything is touched. `clusterctl doctor` tells the same, and
/// tries what can be tried.
enum Preflight {
  struct Finding: Sendable, Hashable, CustomStringConvertible {
    enum Severity: String, Sendable { case error, warning }

    var severity: Severity
    var problem: String
    var remedy: String

    var description: String { "\(problem). \(remedy)." }
  }

  static func check(_ plan: NodePlan, _ facts: EnvironmentFacts) -> [Finding] {
    EnvironmentChecks.findings(NodeNeeds(plan), facts).compactMap { finding in
      switch finding.verdict {
      case .ok: nil
      case .lost(let problem, let loss, let remedy):
        Finding(severity: .warning, problem: "\(problem); lost: \(loss)", remedy: remedy)
      case .missing(let problem, let remedy): Finding(severity: .error, problem: problem, remedy: remedy)
      }
    }
  }
}

extension NodeNeeds {
  init(_ plan: NodePlan) {
    let configuration = plan.configuration
    self.init()
    if case .here = configuration.dispatcher { dispatcher = Dispatcher(controlPort: configuration.controlPort) }
    if let settings = configuration.backEnd {
      backEnd = BackEnd(
        maximumConnections: settings.maximumConnections, acceptsTunnels: settings.tunnel != .never,
        servesDirectly: settings.serveMode != .repair, mustServeDirectly: settings.serveMode == .direct)
    }
    if configuration.distributor != nil {
      distributor = Distributor(
        servesIPv4: plan.services.contains { $0.address.isIPv4 },
        servesIPv6: plan.services.contains { !$0.address.isIPv4 })
    }
  }
}
