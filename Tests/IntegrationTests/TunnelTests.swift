// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Testing

extension IntegrationTests {
  /// Clients' packets that reach the server nodes in datagrams instead of by Ethernet address.
  @Suite(.serialized)
  struct TunnelTests {
    @Test(arguments: ["direct", "repair"])
    func everythingGoesThroughTheTunnels(_ serve: String) throws {
      var plan = FailureCluster.plan([.nginx, .nginx])
      plan.serve = serve
      for index in plan.nodes.indices where plan.nodes[index].isDistributor || plan.nodes[index].server != nil {
        plan.nodes[index].options += ["--tunnel", "always"]
      }
      try FailureCluster.with(plan) { cluster in
        try cluster.exchangeLargeBodies()
        func packets(_ outcome: String) throws -> Double {
          try cluster.metric("fe1", "handoff_forwarding_packets_total", ["outcome": outcome])
        }
        #expect(try packets("tunnelled") > 100)
        #expect(try packets("forwarded") == 0)
        for outcome in ["tunnel_too_big", "tunnel_unknown", "hops_exceeded"] { #expect(try packets(outcome) == 0) }
        for name in ["be1", "be2"] {
          func arrived(_ outcome: String) throws -> Double {
            try cluster.metric(name, "handoff_backend_tunnel_packets_total", ["outcome": outcome])
          }
          #expect(try arrived("decapsulated") > 0)
          for outcome in ["stranger", "malformed", "not_served", "fragment"] {
            #expect(try arrived(outcome) == 0, "\(name): \(outcome)")
          }
        }
      }
    }
  }
}
