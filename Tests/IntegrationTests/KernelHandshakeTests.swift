// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Synchronization
import Testing
import Wire

extension IntegrationTests {
  /// The same clients, and a distributor whose kernel answers handshakes: what happens before the first data is another
  /// matter, what happens after it is not.
  @Suite(.serialized, .cluster(.onTheWire(handshake: "kernel", packets: "ring")))
  struct KernelHandshakeTests {
    /// Those that are about the handshake itself or about what the ring does not show.
    private static let others: Set<String> = [
      "silence after the handshake", "RST before the handshake is complete", "FIN completes the handshake",
      "data on SYN", "a data offset past the end", "a repeated SYN", "a handshake that acknowledges too much",
      "SYN with FIN", "port 0", "a segment of no connection", "SYN within a connection",
    ]
    static let common = MisbehavingClientTests.cases.filter { !others.contains($0.testDescription) }
    private static let nextPort = Mutex<UInt16>(30_000)

    @Test func everyOtherCaseIsNamed() {
      let names = Set(MisbehavingClientTests.cases.map(\.testDescription))
      #expect(Self.others.isSubset(of: names))
      #expect(Self.others.isSubset(of: Set(RawCase.kernelHandshakes.map(\.testDescription))))
    }

    @Test(arguments: common, [0, 1])
    func afterTheFirstData(_ each: RawCase, _ family: Int) throws {
      let ledger = try Ledger(try SuiteCluster.cluster())
      let peer = try peer(family)
      peer.isPrimed = true
      try each.body(peer)
      try ledger.waitUntilIdle(counting: each.expected)
    }

    @Test(arguments: RawCase.kernelHandshakes, [0, 1])
    func beforeTheFirstData(_ each: RawCase, _ family: Int) throws {
      let ledger = try Ledger(try SuiteCluster.cluster())
      try each.body(try peer(family))
      try ledger.waitUntilIdle(counting: each.expected)
    }

    /// One packet of a request in one segment enters user space.
    @Test(arguments: [0, 1])
    func onePacketOfARequest(family: Int) throws {
      let cluster = try SuiteCluster.cluster()
      try Ledger.waitUntilStartIsCounted(cluster)
      let before = try cluster.metrics(of: Route.handoff.node(cluster))
      let ledger = try Ledger(cluster)
      for _ in 0..<20 {
        let peer = try peer(family)
        try peer.connect()
        try peer.askProperly()
      }
      try ledger.waitUntilIdle(counting: ["connections_total": ["handed_off": 20]])
      let since = try cluster.metrics(of: Route.handoff.node(cluster)).since(before)
      let packets = since["handoff_distributor_packets_received_total"]
      #expect(since["handoff_distributor_packets_total", ["outcome": "cookie_accepted"]] == 20)
      // The client may acknowledge the beginning of the answer before the distributor has heard that its back-end took the
      // connection; nearly all of its acknowledgments come later.
      let forwarded = since[RawCase.kernelFamily, ["outcome": "forwarded"]]
      #expect(packets - 20 < forwarded / 10, "\(packets) packets of 20 requests, \(forwarded) forwarded")
      #expect(since[RawCase.kernelFamily, ["outcome": "syn_answered"]] == 20)
      #expect(since[RawCase.kernelFamily, ["outcome": "ack_absorbed"]] == 20)
      #expect(since["handoff_distributor_segments_sent_total"] < 5)
    }

    private func peer(_ family: Int) throws -> RawPeer {
      let cluster = try SuiteCluster.cluster()
      let port = Self.nextPort.withLock { port in
        port += 1
        return port
      }
      return try RawPeer(
        cluster, to: Route.handoff.endpoints(cluster)[family], at: Route.handoff.node(cluster), port: port)
    }
  }
}
