// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Testing

extension IntegrationTests {
  /// Clients, distributor and server nodes are in three networks, and what is between them is the kernel's own router.
  @Suite(.serialized)
  struct RoutedTests {
    struct Way: Sendable, CustomTestStringConvertible {
      var serve: String
      var handoffs: String
      var router = LabRouter()
      var isIPv6Inside: Bool

      var testDescription: String {
        "\(serve), by \(handoffs)\(isIPv6Inside ? " over IPv6" : ""), MTU \(router.farMTU) to the servers and "
          + "\(router.clientPathMTU) to the clients"
      }

      init(
        _ serve: String, _ handoffs: String, farMTU: Int = 1500, clientPathMTU: Int = 1500, isIPv6Inside: Bool = false
      ) {
        (self.serve, self.handoffs, self.isIPv6Inside) = (serve, handoffs, isIPv6Inside)
        router.farMTU = farMTU
        router.clientPathMTU = clientPathMTU
      }

      static let all = [
        Way("direct", "packet"), Way("direct", "message", clientPathMTU: 1400),
        Way("repair", "message", clientPathMTU: 1400), Way("direct", "packet", farMTU: 1400, clientPathMTU: 1300),
        Way("repair", "message", farMTU: 1400), Way("direct", "packet", farMTU: 1400, isIPv6Inside: true),
      ]

      /// Bytes of the longest packet of a client that fits the tunnel.
      var room: Int { router.farMTU - (isIPv6Inside ? 48 : 28) }
      /// What a server learns of the way to a client by a router's errors, for each family.
      var learntMTUs: [Int] {
        router.clientPathMTU < router.farMTU ? [router.clientPathMTU, router.clientPathMTU] : []
      }
    }

    @Test(arguments: Way.all) func bytesArriveThroughTheRouter(_ way: Way) throws {
      var plan = FailureCluster.plan([.nginx])
      plan.serve = way.serve
      plan.router = way.router
      plan.isIPv6Inside = way.isIPv6Inside
      for index in plan.nodes.indices {
        if plan.nodes[index].server != nil { plan.nodes[index].network = .far }
        if plan.nodes[index].isDistributor && way.handoffs == "message" {
          plan.nodes[index].options += ["--handoffs", "message"]
        }
      }
      try FailureCluster.with(plan) { cluster in
        try cluster.getAllPages()
        // Uploads make long packets in the tunnel, downloads long ones towards the clients.
        let bytes = cluster.site.content(of: TestSite.medium).bytes(from: 0, count: 3 << 20)
        try FileAccess.write(bytes, to: "\(cluster.documentRoot)/three.bin")
        let digest = try Command.run(["sha256sum"], input: bytes).output.prefix(64)
        func tooLong() throws -> Double {
          try cluster.metric("fe1", "handoff_forwarding_packets_total", ["outcome": "tunnel_too_big"])
        }
        // Nobody knows yet that the router's other link is narrower than this one.
        let longest = "handoff_distributor_longest_packet_bytes"
        let first = ["worker": "0"]
        #expect(try cluster.metric("fe1", longest, first) == (way.isIPv6Inside ? 1452 : 1472))
        var tooLongBefore: Double?
        for endpoint in [cluster.endpoints[0], cluster.endpoints6[0]] {
          // Downloads first: afterwards the server's kernel knows the way's MTU.
          let download = try cluster.client.run(["curl", "-sS", "-m", "20", "http://\(endpoint)/three.bin"])
          #expect(download.isSuccess && download.standardOutput == bytes, "\(endpoint): \(download.errorOutput)")
          let upload = try cluster.client.run(
            ["curl", "-sS", "-m", "20", "-H", "Expect:", "--data-binary", "@-", "http://\(endpoint)/app/digest"],
            input: bytes)
          #expect(upload.output == "\(bytes.count) \(digest)\n", "\(endpoint): \(upload.errorOutput)")
          // The first upload shows what the way takes; who connects later is told the right size at once.
          try cluster.wait(for: "fe1", longest, first) { $0 == Double(way.room) }
          if let tooLongBefore {
            #expect(try tooLong() == tooLongBefore)
          } else {
            tooLongBefore = try tooLong()
            #expect((try tooLong() > 0) == (way.router.farMTU < 1500))
          }
        }
        func packets(_ outcome: String) throws -> Double {
          try cluster.metric("fe1", "handoff_forwarding_packets_total", ["outcome": outcome])
        }
        #expect(try packets("tunnelled") > 100)
        #expect(try packets("forwarded") == 0)
        for outcome in ["tunnel_unknown", "hops_exceeded"] { #expect(try packets(outcome) == 0) }
        let byPacket = try cluster.metric("be1", "handoff_backend_packet_handoffs_total")
        #expect(way.handoffs == "packet" ? byPacket > 30 : byPacket == 0, "\(byPacket) handoffs by packet")
        let direct = try cluster.metric("be1", "handoff_backend_handoffs_direct_total")
        #expect(way.serve == "direct" ? direct + byPacket > 60 : direct == 0, "\(direct) direct handoffs")
        for outcome in ["stranger", "malformed", "not_served", "fragment"] {
          #expect(
            try cluster.metric("be1", "handoff_backend_tunnel_packets_total", ["outcome": outcome]) == 0, "\(outcome)")
        }
        // The router tells the served address, which is the distributor's, and that one the server node.
        let learnt = try cluster.node("be1").namespace.run(
          ["sh", "-c", "ip route show cache; ip -6 route show cache"]).output
        let mtus = learnt.numbers(behind: "mtu ")
        #expect(mtus == way.learntMTUs, "\(learnt)")
      }
    }

    /// Clients that connected before the way's MTU was known, and take no notice of errors or let routers cut their packets.
    @Test(arguments: ["ip", "ip6"], ["hearing", "deaf", "undemanding"])
    func uploadsOfAllClientsArrive(_ family: String, _ kind: String) throws {
      if kind == "undemanding" && family == "ip6" { return }
      var plan = FailureCluster.plan([.nginx])
      var router = LabRouter()
      router.farMTU = 1400
      plan.router = router
      for index in plan.nodes.indices where plan.nodes[index].server != nil { plan.nodes[index].network = .far }
      try FailureCluster.with(plan) { cluster in
        let bytes = cluster.site.content(of: TestSite.medium).bytes(from: 0, count: 1 << 20)
        let digest = try Command.run(["sha256sum"], input: bytes).output.prefix(64)
        switch kind {
        case "deaf":
          let rules =
            "nft add table inet deaf; nft add chain inet deaf in '{ type filter hook input priority 0; }'; "
            + "nft add rule inet deaf in icmp type destination-unreachable drop; "
            + "nft add rule inet deaf in icmpv6 type packet-too-big drop"
          try cluster.client.run(["sh", "-c", rules]).checked()
        case "undemanding":
          try cluster.client.run(["sysctl", "-qw", "net.ipv4.ip_no_pmtu_disc=1"]).checked()
        default: break
        }
        let endpoint = family == "ip" ? cluster.endpoints[0] : cluster.endpoints6[0]
        let upload = try cluster.client.run(
          ["curl", "-sS", "-m", "30", "-H", "Expect:", "--data-binary", "@-", "http://\(endpoint)/app/digest"],
          input: bytes)
        #expect(upload.output == "\(bytes.count) \(digest)\n", "\(upload.errorOutput)")
        func packets(_ outcome: String) throws -> Double {
          try cluster.metric("fe1", "handoff_forwarding_packets_total", ["outcome": outcome])
        }
        #expect(try packets("tunnel_too_big") > 0)
        let cache = try cluster.client.run(["sh", "-c", "ip route show cache; ip -6 route show cache"]).output
        #expect(cache.numbers(behind: "mtu ") == (kind == "hearing" ? [1372] : []), "\(cache)")
      }
    }
  }
}

extension String {
  /// The numbers behind each occurrence of a word.
  fileprivate func numbers(behind word: String) -> [Int] {
    split(separator: word, omittingEmptySubsequences: false).dropFirst().compactMap {
      Int($0.prefix(while: \.isNumber))
    }
  }
}
