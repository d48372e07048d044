// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LinuxKernel
import Logging
import NodeChecks
import Synchronization
import Telemetry
import Testing
import Wire

@testable import ClusterStartup

@Suite struct FailedRoleTests {
  /// A role whose thread ends by itself after its health was asked for some times.
  private final class DyingRole: RunningRole {
    let name = "dispatcher"
    private let asked = Mutex(0)
    private let dies: Int

    init(after dies: Int) { self.dies = dies }

    func health() -> RoleHealth {
      asked.withLock { asked in
        asked += 1
        return asked > dies ? .failed("a thread has ended") : .ready
      }
    }

    func stop(draining seconds: Double) {}
    func join() {}
  }

  @Test(arguments: [0, 1]) func endsTheProcessWithAnError(_ asked: Int) throws {
    let values = try StartupCommand.parse(["-D", "--internal-address", "10.0.0.2"]).options.values
    let table = RoleTable()
    var runner = try NodeRunner(
      try NodeConfiguration(checking: values), signals: try SignalQueue([]), metrics: MetricsRegistry(), table: table,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    ) {}
    let facts = EnvironmentFacts(
      capabilities: [], kernelRelease: "6.1.0", descriptors: DescriptorLimit(soft: 1024, hard: 1024), programs: [])
    let exit = try runner.run(host: GoldenConfigurationTests.host, facts: facts) { _, _, _, _ in
      DyingRole(after: asked)
    }
    #expect(exit == .failure)
    #expect(table.health().failure == "dispatcher: a thread has ended")
    #expect(table.health().isReady == false)
  }
}
