// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel
import Testing

extension IntegrationTests {
  /// Handoffs by packet on networks that lose or double them, and beside processes that do not take them. Each request is
  /// answered byte by byte and served once.
  @Suite(.serialized)
  struct PacketHandoffTests {
    private static let servers = ["be1", "be2"]

    private func plan(policy: String = "wrr") -> ClusterPlan {
      var plan = FailureCluster.plan([.nginx, .nginx], policy: policy)
      plan.serve = "direct"
      return plan
    }

    // MARK: Requests

    /// Clients one behind the other and several side by side: a page and an upload each, on connections of their own.
    private struct Load {
      var rounds: Int
      var sideBySide = 6

      var requests: Int { rounds * sideBySide * 2 }

      func script(_ cluster: Cluster) -> String {
        let pages = cluster.site.pages.prefix(10).map(\.path).joined(separator: " ")
        let (four, six) = (cluster.endpoints[0], cluster.endpoints6[0])
        return """
          client() {
            n=0
            set -- \(pages)
            while [ $n -lt \(rounds) ]; do
              n=$((n + 1)); page=$1; shift; set -- "$@" $page
              [ $((n % 2)) = 0 ] && host=\(four) || host=\(six)
              curl -sS -m 20 "http://$host$page" | cmp -s - "\(cluster.documentRoot)$page" || echo "GET $host$page"
              body="$who-$n-0123456789"
              [ "$(curl -sS -m 20 -d "$body" "http://$host/app/digest")" = \
                "${#body} $(printf %s "$body" | sha256sum | cut -c1-64)" ] || echo "POST $host $body"
            done
          }
          for who in $(seq \(sideBySide)); do client & done
          wait
          """
      }
    }

    /// Runs the clients, and `body` beside them; checks that the servers' logs have each request once.
    private func serve(_ load: Load, _ cluster: Cluster, isExact: Bool = true, beside body: () throws -> Void = {})
      throws
    {
      // A server logs a request before it closes its connection.
      try Ledger(cluster).waitUntilIdle()
      let before = try records(cluster)
      let script = load.script(cluster)
      let folder = cluster.run.folder
      let clients = try cluster.client.start(name: "clients", ["sh", "-c", script], logFile: "\(folder)/clients.log")
      try body()
      let end = clients.wait(seconds: 120)
      #expect(clients.log() == "" && end == .exited(0), "\(String(describing: end))")
      _ = try Eventually.within(10) {
        try records(cluster)
      } until: {
        $0 >= before + load.requests
      }
      // A node that hangs for more than a second may still answer what was given to another one then, and its distributor
      // may learn of some ends only when it compares its flows.
      if isExact {
        try Ledger(cluster).waitUntilIdle(within: 20)
        #expect(try records(cluster) == before + load.requests, "requests were served twice")
      }
    }

    private func records(_ cluster: Cluster) throws -> Int {
      try cluster.nodes.compactMap(\.web).reduce(0) { try $0 + AccessRecord.read($1).count }
    }

    private func handoffs(_ cluster: Cluster, _ what: String = "") throws -> Double {
      try cluster.metric("fe1", "handoff_distributor_packet_handoffs\(what)_total")
    }

    /// Over both server nodes.
    private func taken(_ cluster: Cluster, _ name: String, _ labels: [String: String] = [:]) throws -> Double {
      try Self.servers.reduce(0) { try $0 + cluster.metric($1, name, labels) }
    }

    private func takenFromPackets(_ cluster: Cluster) throws -> Double {
      try taken(cluster, "handoff_backend_packet_handoffs_total")
    }

    // MARK: The network

    enum Network: String, CaseIterable, Sendable {
      case good, loses30, doubles, losesAndDoubles, losesAll

      /// Of the datagrams that the bridge gets from the distributor's node: a loss at the node itself would show there.
      var rules: [String] {
        switch self {
        case .good: []
        case .loses30: ["numgen random mod 100 < 30 drop"]
        case .doubles: ["dup to be1", "dup to be2"]
        case .losesAndDoubles: ["numgen random mod 100 < 30 drop", "dup to be1", "dup to be2"]
        case .losesAll: ["drop"]
        }
      }
    }

    private static let isLarge = IntegrationTests.FailureTests.Load.isLarge

    /// With round robin each handoff is a worker's, with LARD the kernel makes those under a lease by itself.
    @Test(arguments: isLarge ? Network.allCases : [.losesAndDoubles, .losesAll], ["wrr", "lard"])
    func everyRequestIsServedOnce(_ network: Network, policy: String) throws {
      try FailureCluster.with(plan(policy: policy)) { cluster in
        try cluster.getAllPages()
        try Ledger(cluster).waitUntilIdle()
        let normal = try (packets: handoffs(cluster), unconfirmed: handoffs(cluster, "_unconfirmed"))
        #expect(normal.packets > 30, "packets are the usual way")
        let spoilt =
          (["table netdev spoilt {", "chain out {", "type filter hook ingress device fe1 priority 0;"]
          + network.rules.map { "udp dport 7001 \($0)" } + ["}", "}"]).joined(separator: "\n")
        let node = cluster.fabric.namespace
        try node.run(["nft", "-f", "-"], input: Array(spoilt.utf8)).checked()
        let (load, start) = (Load(rounds: 40), MonotonicTime.now())
        try serve(load, cluster)
        let seconds = Double(MonotonicTime.now() - start) / 1e9
        try node.run(["nft", "delete", "table", "netdev", "spoilt"]).checked()

        let sent = try handoffs(cluster) - normal.packets
        let unconfirmed = try handoffs(cluster, "_unconfirmed") - normal.unconfirmed
        let copies = try taken(
          cluster, "handoff_backend_serving_packets_total", ["outcome": "handoff_repeated"])
        let byKernel = try cluster.metric("fe1", "handoff_distributor_kernel_handoffs_total")
        print(
          "\(network): \(load.requests) requests in \(seconds) s, \(sent) by packet, \(byKernel) of all packets by the "
            + "kernel, \(unconfirmed) unconfirmed")
        #expect((byKernel > 0) == (policy == "lard"), "pages that are asked for again go without the worker")
        _ = try Eventually.within(10) {
          try (sent: handoffs(cluster), taken: takenFromPackets(cluster))
        } until: {
          $0.taken <= $0.sent
        }
        // A machine that is too slow for a word in time makes pauses of its own.
        switch network {
        case .good: #expect(sent > 100 && unconfirmed < sent / 10 && copies == 0)
        case .loses30: #expect(unconfirmed > 0 && unconfirmed < sent)
        case .doubles: #expect(sent > 100 && copies >= sent / 2)
        case .losesAndDoubles: #expect(unconfirmed > 0 && unconfirmed < sent && copies > 0)
        case .losesAll:
          #expect(unconfirmed == sent)
          // Eight in a row, and those that were under way at the eighth, for each worker and node in each ten seconds.
          #expect(sent <= Double(8 + load.sideBySide) * 2 * 2 * (1 + (seconds / 10).rounded(.up)))
          #expect(sent < Double(load.requests) / 2)
        }
        // It tries again when the pause is over.
        let before = try takenFromPackets(cluster)
        _ = try Eventually.within(20) {
          try cluster.getAllPages()
          return try takenFromPackets(cluster)
        } until: {
          $0 > before
        }
      }
    }

    // MARK: Processes

    /// The kernel takes packets for an agent that hangs for a moment; what comes later, or too late, goes elsewhere.
    @Test(arguments: isLarge ? [0.5, 4] : [0.5]) func anAgentThatHangsUnderLoad(seconds: Double) throws {
      try FailureCluster.with(plan()) { cluster in
        try cluster.getAllPages()
        let agent = try cluster.process("be1")
        try serve(Load(rounds: 60), cluster, isExact: seconds < 1) {
          for _ in 0..<3 {
            agent.signal(SIGSTOP)
            // It answers again before the next time: hanging for more than a second is another matter.
            defer {
              agent.signal(SIGCONT)
              for _ in 0..<20 { _ = try? cluster.metric("be1", "handoff_backend_connections_active") }
            }
            // As long as other requests are served: the time is what is tested.
            let end = MonotonicTime.now() + UInt64(seconds * 1e9)
            while MonotonicTime.now() < end { _ = try cluster.metric("be2", "handoff_backend_connections_active") }
          }
        }
        try cluster.wait(
          for: "dispatcher", "handoff_dispatcher_back_end_state", ["back_end": "be1", "state": "up"]
        ) { $0 == 1 }
        let before = try cluster.metric("be1", "handoff_backend_packet_handoffs_total")
        _ = try Eventually.within(20) {
          try cluster.getAllPages()
          return try cluster.metric("be1", "handoff_backend_packet_handoffs_total")
        } until: {
          $0 > before
        }
      }
    }

    /// A node with all roles hands connections off to itself, whatever family nodes talk in.
    @Test(arguments: [false, true]) func toTheNodeItself(isIPv6Inside: Bool) throws {
      var plan = ClusterPlan(placement: .together, servers: [.nginx])
      plan.policy = "wrr"
      plan.serve = "direct"
      plan.isIPv6Inside = isIPv6Inside
      try FailureCluster.with(plan) { cluster in
        try cluster.getAllPages()
        func counts() throws -> (sent: Double, taken: Double, unconfirmed: Double) {
          let (sent, taken) = ("handoff_distributor_packet_handoffs", "handoff_backend_packet_handoffs_total")
          return try (
            cluster.metric("be1", "\(sent)_total"), cluster.metric("be1", taken),
            cluster.metric("be1", "\(sent)_unconfirmed_total")
          )
        }
        for endpoint in [cluster.endpoints[0], cluster.endpoints6[0]] {
          let before = try counts()
          let path = cluster.site.pages[0].path
          let get = "curl -sS -m 20 http://\(endpoint)\(path) | cmp - \(cluster.documentRoot)\(path)"
          for _ in 0..<20 { try cluster.client.run(["sh", "-c", get]).checked() }
          let after = try Eventually.within(10) {
            try counts()
          } until: {
            $0.taken >= before.taken + 20
          }
          #expect(after.sent >= before.sent + 20 && after.unconfirmed == before.unconfirmed, "\(endpoint)")
        }
      }
    }

    /// One side that does not want packets is enough, and only for itself.
    @Test(arguments: ["fe1", "be1"]) func messagesAlone(_ side: String) throws {
      var plan = plan()
      for index in plan.nodes.indices where plan.nodes[index].name == side {
        plan.nodes[index].options += ["--handoffs", "message"]
      }
      try FailureCluster.with(plan) { cluster in
        try serve(Load(rounds: 10), cluster)
        #expect(try cluster.metric("be1", "handoff_backend_packet_handoffs_total") == 0)
        #expect(try cluster.metric("be1", "handoff_backend_handoffs_direct_total") > 0)
        // Both sides publish what they count a moment later.
        let packets = try Eventually.within(10) {
          try (sent: handoffs(cluster), taken: cluster.metric("be2", "handoff_backend_packet_handoffs_total"))
        } until: {
          $0.sent == $0.taken
        }
        #expect(side == "fe1" ? packets.sent == 0 : packets.sent > 0)
      }
    }
  }
}
