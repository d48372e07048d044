// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Testing

extension IntegrationTests {
  /// Packets of handed-off connections are forwarded at the driver of the distributor's interface.
  @Suite(.serialized)
  struct DriverTests {
    private static func plan(_ serve: String, hook: String = "xdp") -> ClusterPlan {
      var plan = FailureCluster.plan([.nginx, .nginx])
      plan.serve = serve
      plan.forwardsAtDriver = true
      plan.distributorOptions += ["--forwarding-hook", hook]
      return plan
    }

    private static func packets(_ cluster: Cluster, _ outcome: DriverOutcomeLabel) throws -> Double {
      try cluster.metric("fe1", "handoff_driver_packets_total", ["outcome": outcome.rawValue])
    }

    private static func forwarded(_ cluster: Cluster) throws -> Double {
      try cluster.metric("fe1", "handoff_forwarding_packets_total", ["outcome": "forwarded"])
    }

    /// Labels of the metric.
    enum DriverOutcomeLabel: String { case forwarded, joined, passed, tunnelled, checksumOpen = "checksum_open" }

    @Test(arguments: ["direct", "repair"])
    func everythingIsForwardedAtTheDriver(_ serve: String) throws {
      try FailureCluster.with(Self.plan(serve)) { cluster in
        try cluster.exchangeLargeBodies()
        let atDriver = try Self.packets(cluster, .forwarded)
        // 10 MB of uploads are 7,000 segments.
        #expect(atDriver > 7000)
        // What opens and what ends a connection may be left to tc, and one checksum in 65,536 looks open.
        let atTC = try Self.forwarded(cluster) - atDriver
        #expect(atTC < atDriver / 100, "\(atTC) of \(atDriver) packets")
        #expect(try Self.packets(cluster, .joined) == 0)
        #expect(try Self.packets(cluster, .passed) > 0)
      }
    }

    /// The kernel tells the next hop of a tunnel where the interface forwards.
    @Test func tunnelsBeginAtTheDriver() throws {
      var plan = Self.plan("direct")
      for index in plan.nodes.indices where plan.nodes[index].isDistributor || plan.nodes[index].server != nil {
        plan.nodes[index].options += ["--tunnel", "always"]
      }
      try FailureCluster.with(plan) { cluster in
        let node = try cluster.node("fe1")
        func tellNextHop(_ tells: Int) throws {
          for family in ["ipv4", "ipv6"] {
            try node.namespace.run(["sysctl", "-qw", "net.\(family).conf.eth0.forwarding=\(tells)"]).checked()
          }
        }
        try tellNextHop(1)
        try cluster.exchangeLargeBodies()
        try tellNextHop(0)
        let atDriver = try Self.packets(cluster, .tunnelled)
        #expect(atDriver > 7000)
        let all = try cluster.metric("fe1", "handoff_forwarding_packets_total", ["outcome": "tunnelled"])
        #expect(all - atDriver < atDriver / 100, "\(all - atDriver) of \(all) packets at tc")
      }
    }

    /// With a client's usual offloads the driver's program sees unfinished checksums, and leaves those packets to tc.
    @Test func whatIsUnfinishedIsForwardedAtTC() throws {
      try FailureCluster.with(Self.plan("direct")) { cluster in
        try cluster.fabric.namespace.run(["ethtool", "-K", "fe1", "tx", "on", "sg", "on", "tso", "on"]).checked()
        try cluster.exchangeLargeBodies()
        #expect(try Self.packets(cluster, .forwarded) < 10)
        #expect(try Self.packets(cluster, .checksumOpen) + Self.packets(cluster, .joined) > 100)
        #expect(try Self.forwarded(cluster) > 100)
      }
    }

    /// A distributor that is killed leaves the driver's program, and its successor takes over.
    @Test func theDriverForwardsForADeadDistributor() throws {
      try FailureCluster.with(Self.plan("direct")) { cluster in
        let kept = try FailureClient(cluster)
        try kept.finishConnecting()
        try kept.get(FailureCluster.site.pages[0].path)
        let download = try cluster.pausedDownload(FailureCluster.downloads[0])
        try cluster.process("fe1").kill()
        // Nobody but the programs in the kernel forwards the acknowledgments.
        download.read(bytes: FailureCluster.downloadBytes / 2, within: 20)
        #expect(download.bodyRead >= FailureCluster.downloadBytes / 2, "\(download.outcome)")
        try kept.get(FailureCluster.site.pages[1].path)

        try cluster.startFront(of: cluster.node("fe1"))
        try cluster.waitForLog("fe1", "predecessor=\"maps(flows:")
        try cluster.waitForLog("fe1", "forwards=\"at the driver\"")
        try cluster.waitUntilServing()
        download.read(within: 20)
        #expect(download.isComplete, "\(download.outcome)")
        try kept.get(FailureCluster.site.pages[2].path)
        #expect(try Self.packets(cluster, .forwarded) > 0, "the successor's own program forwards")
      }
    }
  }
}
