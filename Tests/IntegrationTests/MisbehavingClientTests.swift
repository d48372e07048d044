// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Synchronization
import Testing
import Wire

extension IntegrationTests {
  /// Clients that break rules, and a distributor that answers handshakes in user space: each gets the right answer or
  /// none, is counted under its own name, and leaves nothing. The packets come by NFQUEUE, as without BPF.
  @Suite(.serialized, .cluster(.onTheWire(handshake: "user", packets: "queue")))
  struct MisbehavingClientTests {
    static let cases = RawCase.streams + RawCase.endings + RawCase.segments
    private static let nextPort = Mutex<UInt16>(20_000)

    /// Shows that the cases' expectations are those of a plain server.
    @Test(arguments: cases.filter(\.isProper), [0, 1])
    func plainServer(_ each: RawCase, _ family: Int) throws {
      try each.body(try peer(.direct, family))
    }

    @Test(arguments: cases, [0, 1])
    func distributor(_ each: RawCase, _ family: Int) throws {
      let ledger = try Ledger(try SuiteCluster.cluster())
      try each.body(try peer(.handoff, family))
      try ledger.waitUntilIdle(counting: each.expected)
    }

    /// All cases once more, then nothing is left: no entry of a table and no descriptor of any process.
    @Test func nothingIsLeft() throws {
      let cluster = try SuiteCluster.cluster()
      let ledger = try Ledger(cluster)
      // A SYN whose answer is never acknowledged stays until its retransmissions are over.
      try peer(.handoff, 0).open()
      try waitUntilEmpty(cluster, ledger, counting: ["handshakes_total": ["timed_out": 1]])
      let before = try descriptors(cluster)
      for family in [0, 1] {
        for each in Self.cases { try each.body(try peer(.handoff, family)) }
      }
      try waitUntilEmpty(cluster, ledger, counting: [:])
      _ = try Eventually.within(10) {
        try descriptors(cluster)
      } until: {
        $0 == before
      }
    }

    private func waitUntilEmpty(
      _ cluster: Cluster, _ ledger: Ledger, counting expected: [String: [String: Double]]
    ) throws {
      try ledger.waitUntilIdle(counting: expected, within: 25)
      let node = try Route.handoff.node(cluster)
      _ = try Eventually.within(10) {
        try cluster.metrics(of: node)["handoff_distributor_connection_entries"]
      } until: {
        $0 == 0
      }
    }

    /// Open descriptors of each process of the cluster.
    private func descriptors(_ cluster: Cluster) throws -> [String: Int] {
      var counts: [String: Int] = [:]
      for node in cluster.nodes {
        let pid = try cluster.process(node.name).pid
        let names = try Command.run(["ls", "/proc/\(pid)/fd"]).checked().output
        counts[node.name] = names.split(separator: "\n").count
      }
      return counts
    }

    private func peer(_ route: Route, _ family: Int) throws -> RawPeer {
      let cluster = try SuiteCluster.cluster()
      let port = Self.nextPort.withLock { port in
        port += 1
        return port
      }
      return try RawPeer(
        cluster, to: route.endpoints(cluster)[family], at: route.node(cluster), port: port)
    }
  }
}

extension ClusterPlan {
  /// With a short head timeout.
  static func onTheWire(handshake: String, packets: String) -> ClusterPlan {
    var plan = onTheWire
    plan.distributorOptions = ["--head-timeout", "1", "--handshake", handshake, "--packets", packets]
    return plan
  }
}
