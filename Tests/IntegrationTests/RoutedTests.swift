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

      var testDescription: String {
        "\(serve), by \(handoffs), MTU \(router.farMTU) to the servers and \(router.clientPathMTU) to the clients"
      }

      init(_ serve: String, _ handoffs: String, farMTU: Int = 1500, clientPathMTU: Int = 1500) {
        (self.serve, self.handoffs) = (serve, handoffs)
        router.farMTU = farMTU
        router.clientPathMTU = clientPathMTU
      }

      static let all = [
        Way("direct", "packet"), Way("direct", "message", clientPathMTU: 1400),
        Way("repair", "message", clientPathMTU: 1400), Way("direct", "packet", farMTU: 1400, clientPathMTU: 1300),
        Way("repair", "message", farMTU: 1400),
      ]

      /// The far link takes no whole segments in a tunnel, which docs/design/tunnel.md says.
      var longestUpload: Int { router.farMTU < 1500 ? 1000 : 3 << 20 }
      /// What a server learns of the way to a client by a router's errors, for each family.
      var learntMTUs: [Int] {
        router.clientPathMTU < router.farMTU ? [router.clientPathMTU, router.clientPathMTU] : []
      }
    }

    @Test(arguments: Way.all) func bytesArriveThroughTheRouter(_ way: Way) throws {
      var plan = FailureCluster.plan([.nginx])
      plan.serve = way.serve
      plan.router = way.router
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
        let body = Array(bytes.prefix(way.longestUpload))
        let digest = try Command.run(["sha256sum"], input: body).output.prefix(64)
        for endpoint in [cluster.endpoints[0], cluster.endpoints6[0]] {
          // Downloads first: afterwards the server's kernel knows the way's MTU.
          let download = try cluster.client.run(["curl", "-sS", "-m", "20", "http://\(endpoint)/three.bin"])
          #expect(download.isSuccess && download.standardOutput == bytes, "\(endpoint): \(download.errorOutput)")
          let upload = try cluster.client.run(
            ["curl", "-sS", "-m", "20", "-H", "Expect:", "--data-binary", "@-", "http://\(endpoint)/app/digest"],
            input: body)
          #expect(upload.output == "\(body.count) \(digest)\n", "\(endpoint): \(upload.errorOutput)")
        }
        func packets(_ outcome: String) throws -> Double {
          try cluster.metric("fe1", "handoff_forwarding_packets_total", ["outcome": outcome])
        }
        #expect(try packets("tunnelled") > 100)
        #expect(try packets("forwarded") == 0)
        for outcome in ["tunnel_too_big", "tunnel_unknown", "hops_exceeded"] { #expect(try packets(outcome) == 0) }
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
