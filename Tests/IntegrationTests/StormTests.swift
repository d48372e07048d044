// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Testing
import Wire

extension IntegrationTests {
  /// Clients that use the same few ports again and again, and a distributor that dies again and again.
  @Suite(.serialized)
  struct StormTests {
    private static let connections = IntegrationTests.FailureTests.Load.isLarge ? 100_000 : 4000
    private static let kills = IntegrationTests.FailureTests.Load.isLarge ? 10 : 3
    private static let ports = IntegrationTests.FailureTests.Load.isLarge ? 4000 : 400
    private static let page = FailureCluster.site.pages.filter { $0.size > 100 }.min { $0.size < $1.size }!

    @Test(arguments: IntegrationTests.FailureTests.Load.isLarge ? ["direct", "repair"] : ["direct"])
    func portsAreReused(_ serve: String) throws {
      var plan = FailureCluster.plan([.nginx])
      plan.serve = serve
      try FailureCluster.with(plan) { cluster in
        let settings = [
          "net.ipv4.ip_local_port_range=20000 \(20_000 + Self.ports - 1)",
          // A port whose last connection is in TIME_WAIT here may be used after a millisecond (Linux 6.14; a second before).
          "net.ipv4.tcp_tw_reuse=1",
        ]
        for setting in settings { try cluster.client.run(["sysctl", "-w", setting]).checked() }
        _ = try cluster.client.run(["sysctl", "-w", "net.ipv4.tcp_tw_reuse_delay=1"])
        for closing in StormClient.Closing.allCases {
          let plain = try storm(Route.direct, cluster, closing)
          let handed = try storm(Route.handoff, cluster, closing)
          print(
            "port reuse, \(serve), \(closing.rawValue): longest \(plain.longest / 1_000_000) ms at the server itself, "
              + "\(handed.longest / 1_000_000) ms handed off")
          print("  waited for a port \(plain.portless) and \(handed.portless) times")
          // One retransmission of a SYN (1 s) at most: a client that resets and dials again within microseconds can meet the
          // flow of its last connection before the distributor has seen that it is over.
          #expect(handed.longest < plain.longest + 1_500_000_000, "\(closing)")
        }
        // Ports met what was left of their last connection.
        if serve == "direct" {
          try cluster.wait(for: "be1", "handoff_backend_tuples_freed_total") { $0 > Double(Self.connections / 10) }
        }
      }
    }

    private func storm(
      _ route: Route, _ cluster: Cluster, _ closing: StormClient.Closing
    ) throws -> StormClient.Result {
      let endpoint = try route.endpoints(cluster)[0]
      let page = Self.page
      let body = cluster.site.content(of: page).bytes(from: 0, count: page.size)
      let before = try ["fe1", "be1"].map { try cluster.metrics(of: cluster.node($0)) }
      let result = try cluster.client.perform {
        try StormClient(endpoint, page.path, body: body, closing: closing)
          .run(connections: Self.connections, atATime: 32)
      }
      let after = try ["fe1", "be1"].map { try cluster.metrics(of: cluster.node($0)) }
      // By outcome: what became of everything.
      let counted = zip(after, before).flatMap { after, before in
        after.since(before).samples.filter { $0.value != 0 && $0.labels["outcome"] != nil }
          .map { "\($0.name) \($0.labels["outcome"] ?? ""): \($0.value)" }
      }
      #expect(
        result.failures == [] && result.completed == Self.connections,
        "\(route) \(closing): \(result)\n\(counted.joined(separator: "\n"))")
      return result
    }

    /// Handed-off connections need no distributor process: it is killed and started ten times under load.
    @Test(arguments: IntegrationTests.FailureTests.Load.isLarge ? ["direct", "repair"] : ["direct"])
    func distributorIsKilledAgainAndAgain(_ serve: String) throws {
      var plan = FailureCluster.plan([.nginx, .nginx])
      plan.serve = serve
      try FailureCluster.with(plan) { cluster in
        let size = 48 << 20
        let original = "\(cluster.documentRoot)/exact.bin"
        let bytes = cluster.site.content(of: TestSite.medium).bytes(from: 0, count: size)
        try FileAccess.write(bytes, to: original)
        let url = "http://\(cluster.endpoints[0])"
        let folder = cluster.run.folder
        let downloads = try (0..<4).map { index in
          try cluster.client.start(
            name: "download \(index)",
            ["curl", "-sS", "-m", "120", "--limit-rate", "2500k", "-o", "\(folder)/got\(index)", "\(url)/exact.bin"],
            logFile: "\(folder)/download\(index).log")
        }
        let load = try cluster.client.start(
          name: "load", ["wrk", "-t1", "-c8", "-d60s", "--timeout", "30s", "\(url)\(Self.page.path)"],
          logFile: "\(folder)/load.log")
        let kept = try FailureClient(cluster)
        try kept.finishConnecting()
        try kept.get(FailureCluster.site.pages[0].path)
        // Load, downloads and `kept` are handed off.
        try cluster.wait(for: "fe1", "handoff_distributor_live_flows") { $0 > 5 }

        for round in 1...Self.kills {
          try cluster.process("fe1").kill()
          try kept.get(FailureCluster.site.pages[round].path)
          try cluster.startFront(of: cluster.node("fe1"))
          try cluster.waitUntilServing()
          try kept.get(FailureCluster.site.pages[round + 10].path)
          #expect(downloads.allSatisfy { $0.isRunning }, "a download was over after \(round) kills")
        }
        load.terminate()
        for (index, download) in downloads.enumerated() {
          #expect(download.wait(seconds: 60) == .exited(0), "\(download.log())")
          #expect(try Command.run(["cmp", original, "\(folder)/got\(index)"]).isSuccess, "download \(index) differs")
        }
        try cluster.getAllPages()
      }
    }
  }
}
