// SPDX-License-Identifier: Apache-2.0

import Logging
import Telemetry

/// Maps a plan to the configuration of each role's service and starts it.
enum RoleLauncher {
  static func start(
    _ role: NodeRole, _ plan: NodePlan, _ metrics: MetricsRegistry, _ logger: Logger
  ) throws(StartupFailure) -> any RunningRole {
    throw StartupFailure("This build has no \(role.rawValue)", remedy: "Use a build that has it")
  }
}
