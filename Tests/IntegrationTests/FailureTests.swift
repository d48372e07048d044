// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel
import Testing
import Wire

/// What docs/failures.md promises, on clusters whose processes are killed.
extension IntegrationTests {
  @Suite(.serialized) enum FailureTests {}
}

extension IntegrationTests.FailureTests {
  @Suite(.serialized)
  struct Servers {
    @Test func serverThatIsDown() throws {
      try FailureCluster.with(FailureCluster.plan([.lighttpd, .lighttpd])) { cluster in
        try cluster.process("be1/web").kill()
        // Nobody has told the dispatcher yet: refused handoffs go to the other node.
        try cluster.getAllPages()
        try cluster.wait(for: "be1", "handoff_backend_server_up") { $0 == 0 }
        let state = ["back_end": "be1", "state": "up"]
        try cluster.wait(for: "dispatcher", "handoff_dispatcher_back_end_state", state) { $0 == 0 }
        let refused = try cluster.metric("be1", "handoff_backend_handoffs_received_total")
        try cluster.getAllPages()
        #expect(try cluster.metric("be1", "handoff_backend_handoffs_received_total") == refused)

        try cluster.startWeb(of: cluster.node("be1"))
        try cluster.wait(for: "dispatcher", "handoff_dispatcher_back_end_state", state) { $0 == 1 }
        let before = try cluster.metric("be1", "handoff_backend_handoffs_total", ["outcome": "accepted"])
        _ = try Eventually.within(15) {
          try cluster.getAllPages()
          return try cluster.metric("be1", "handoff_backend_handoffs_total", ["outcome": "accepted"])
        } until: {
          $0 > before
        }
      }
    }

    @Test func serverKilledInTheMiddleOfAResponse() throws {
      try FailureCluster.with(FailureCluster.plan([.lighttpd, .lighttpd])) { cluster in
        do {
          let clients = try cluster.downloadsOnBothNodes()
          let (victim, other) = (try #require(clients["be1"]), try #require(clients["be2"]))
          try cluster.process("be1/web").kill()
          victim.read(within: 20)
          #expect(victim.end != .open, "\(victim.outcome)")
          #expect(!victim.isComplete && victim.bodyLength == FailureCluster.downloadBytes, "\(victim.outcome)")
          other.read(within: 20)
          #expect(other.isComplete, "\(other.outcome)")
        }
        try cluster.wait(for: "be1", "handoff_backend_connections_active") { $0 == 0 }
      }
    }

    /// All servers down: the client gets an answer.
    @Test func noServerLeft() throws {
      try FailureCluster.with(FailureCluster.plan([.lighttpd])) { cluster in
        try cluster.process("be1/web").kill()
        let client = try FailureClient(cluster)
        try client.finishConnecting()
        try client.request("/ready.txt")
        client.read(within: 10)
        #expect(client.status == 503, "\(client.outcome)")
        try cluster.startWeb(of: cluster.node("be1"))
        try cluster.waitUntilServing()
      }
    }
  }

  @Suite(.serialized)
  struct Agents {
    /// Relayed connections end with their agent, those that the server has itself do not.
    @Test(arguments: ["repair", "direct"]) func agentKilled(_ serve: String) throws {
      var plan = FailureCluster.plan([.nginx, .nginx])
      plan.serve = serve
      try FailureCluster.with(plan) { cluster in
        let be1 = try cluster.node("be1")
        var clients = try cluster.downloadsOnBothNodes()
        let bound = try cluster.bound(3)
        try cluster.process("be1").kill()
        let longest = try cluster.getAllPages()
        #expect(longest < bound, "requests after the kill took up to \(longest) s")
        let left = try be1.namespace.run(["ip", "-o", "addr", "show", "dev", "lo"]).output
        #expect(left.contains("\(cluster.endpoints[0].address)"), "left on lo: \(left)")

        try cluster.startFront(of: be1)
        try cluster.waitUntilServing()
        do {
          let victim = try #require(clients["be1"])
          victim.read(within: 20)
          if serve == "direct" {
            #expect(victim.isComplete, "\(victim.outcome)")
            #expect(try cluster.metric("be1", "handoff_backend_connections_adopted_total") >= 1)
          } else {
            #expect(victim.end != .open && !victim.isComplete, "\(victim.outcome)")
          }
          #expect(victim.bodyLength == FailureCluster.downloadBytes)
        }
        clients["be2"]?.read(within: 20)
        #expect(clients["be2"]?.isComplete == true, "\(clients["be2"]?.outcome ?? "")")
        _ = try Eventually.within(15) {
          try cluster.getAllPages()
          return try cluster.metric("be1", "handoff_backend_handoffs_total", ["outcome": "accepted"])
        } until: {
          $0 > 0
        }
        // The new agent tells of the end of what the old one had installed.
        clients.removeAll()
        try cluster.wait(for: "fe1", "handoff_distributor_live_flows") { $0 == 0 }
        // Whether all is as before the first start is seen when the cluster ends.
      }
    }

    /// A host that is gone says nothing: a stopped process is the same to its peers.
    @Test func agentSilent() throws {
      try FailureCluster.with(FailureCluster.plan([.nginx, .nginx])) { cluster in
        let agent = try cluster.process("be1")
        let (bound, boundWhenKnown) = (try cluster.bound(4), try cluster.bound(2))
        agent.signal(SIGSTOP)
        let longest = try cluster.getAllPages()
        print("a silent agent: requests took up to \(longest) s")
        #expect(longest < bound, "requests took up to \(longest) s")
        #expect(try cluster.getAllPages() < boundWhenKnown)
        agent.signal(SIGCONT)
        try cluster.wait(
          for: "dispatcher", "handoff_dispatcher_back_end_state", ["back_end": "be1", "state": "up"]
        ) { $0 == 1 }
        try cluster.getAllPages()
      }
    }
  }
}
