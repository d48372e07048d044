// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Lab
import LinuxKernel
import Testing

extension IntegrationTests.FailureTests {
  @Suite(.serialized)
  struct Distributors {
    @Test func distributorKilled() throws {
      try FailureCluster.with(FailureCluster.plan([.nginx, .nginx])) { cluster in
        let page = FailureCluster.site.pages[0].path
        let download = try cluster.pausedDownload(FailureCluster.downloads[0])
        let kept = try FailureClient(cluster)
        try kept.finishConnecting()
        try kept.get(page)

        try cluster.process("fe1").kill()
        // The flow table works without its process.
        download.read(bytes: FailureCluster.downloadBytes / 2, within: 20)
        #expect(download.bodyRead >= FailureCluster.downloadBytes / 2, "\(download.outcome)")
        try kept.get(FailureCluster.site.pages[1].path)
        // For a moment the kernel takes the process for alive and answers; then nobody answers new connections. Nobody
        // ever refuses them.
        var waiting: [FailureClient] = []
        _ = try Eventually.within(5) {
          let late = try FailureClient(cluster)
          waiting.append(late)
          return late.connected(within: 0.5) == nil
        } until: {
          $0
        }
        #expect(waiting.count > 1, "the kernel answers no handshake")

        // Those that were answered go on where they are: the keys are still there.
        try cluster.startFront(of: cluster.node("fe1"))
        for late in waiting {
          try late.finishConnecting(within: 20)
          try late.get(page)
        }
        try cluster.waitForLog("fe1", "predecessor=\"maps(flows:")
        try cluster.waitUntilServing()
        try kept.get(FailureCluster.site.pages[2].path)
        download.read(within: 20)
        #expect(download.isComplete, "\(download.outcome)")
        try cluster.getAllPages()
      }
    }

    /// Workers that do not come to run for a moment: what their rings do not hold is dropped and repeated by the clients.
    @Test func ringsOverflow() throws {
      try FailureCluster.with(FailureCluster.plan([.nginx])) { cluster in
        try cluster.getAllPages()
        func packets(_ outcome: String) throws -> Double {
          try cluster.metric("fe1", "handoff_forwarding_packets_total", ["outcome": outcome])
        }
        let clients = try (0..<400).map { try FailureClient(cluster, source: $0) }
        for client in clients { try client.finishConnecting() }
        let distributor = try cluster.process("fe1")
        #expect(try packets("ring_full") == 0)
        distributor.signal(SIGSTOP)
        defer { distributor.signal(SIGCONT) }
        // Two segments that offloads have joined take 64 KB of a ring, which holds far less than one of each client.
        for client in clients { try client.request("/ready.txt", padding: 2500) }
        distributor.signal(SIGCONT)
        for client in clients {
          client.read(within: 20)
          #expect(client.isComplete && client.status == 200, "\(client.outcome)")
        }
        try cluster.wait(for: "fe1", "handoff_forwarding_packets_total", ["outcome": "ring_full"]) { $0 > 0 }
        print("rings overflowed by \(try packets("ring_full")) packets, \(try packets("unattended")) came to nobody")
        try cluster.wait(for: "be1", "handoff_backend_connections_active") { $0 == Double(clients.count) }
        #expect(Ledger.disagreements(try cluster.metrics(of: cluster.node("fe1"))) == [])
      }
    }

    @Test func secondDistributorIsNotTouched() throws {
      let plan = ClusterPlan(distributors: 2, servers: [.nginx, .nginx])
      try FailureCluster.with(plan) { cluster in
        let bound = try cluster.bound(2)
        try cluster.process("fe2").kill()
        #expect(try cluster.getAllPages() < bound)
        try cluster.startFront(of: cluster.node("fe2"))
        try cluster.waitUntilServing()
      }
    }
  }

  @Suite(.serialized)
  struct Dispatchers {
    @Test func dispatcherKilled() throws {
      try FailureCluster.with(FailureCluster.plan([.nginx, .nginx], policy: "lard")) { cluster in
        let kept = try (0..<6).map { index in
          let client = try FailureClient(cluster)
          try client.finishConnecting()
          try client.get(FailureCluster.site.pages[index].path)
          return client
        }
        let bound = try cluster.bound(3)
        try cluster.process("dispatcher").kill()
        #expect(try cluster.getAllPages() < bound)
        try cluster.wait(for: "fe1", "handoff_distributor_local_decisions_total") { $0 > 0 }

        try cluster.startFront(of: cluster.node("dispatcher"))
        // No request fails while nodes find their way back.
        _ = try Eventually.within(20) {
          try cluster.getAllPages()
          return try cluster.metric("dispatcher", "handoff_dispatcher_decisions_total", ["outcome": "assigned"])
        } until: {
          $0 > 0
        }
        try cluster.waitUntilServing()
        for client in kept { try client.get(FailureCluster.site.pages[7].path) }
        // What was open before counts as much as what came later; an end is told a moment after it.
        _ = try Eventually.within(15) {
          try ["be1", "be2"].map { name in
            (
              agent: try cluster.metric(name, "handoff_backend_connections_active"),
              dispatcher: try cluster.metric(
                "dispatcher", "handoff_dispatcher_back_end_connections", ["back_end": name])
            )
          }
        } until: { seen in
          seen.allSatisfy { $0.agent == $0.dispatcher } && seen.reduce(0) { $0 + $1.agent } == Double(kept.count)
        }
      }
    }

    /// Nodes that come back to a new dispatcher in another order get other numbers. To connections they are who they were.
    @Test func numbersGivenAnew() throws {
      try FailureCluster.with(FailureCluster.plan([.nginx, .nginx])) { cluster in
        var downloads = try cluster.downloadsOnBothNodes()
        try cluster.process("dispatcher").kill()
        // Shorter than it takes to be given up as silent.
        let first = try cluster.process("be1")
        first.signal(SIGSTOP)
        defer { first.signal(SIGCONT) }
        try cluster.startFront(of: cluster.node("dispatcher"))
        // Of this process, which writes behind the one before.
        let registered = try Eventually.within(10) {
          try cluster.process("dispatcher").log().components(separatedBy: "dispatcher listens").dropFirst(2).joined()
        } until: {
          $0.contains("backEnd be2 at")
        }
        first.signal(SIGCONT)
        #expect(!registered.contains("backEnd be1 at"), "be2 is the first now")
        try cluster.waitUntilServing()
        for name in ["be1", "be2"] {
          try cluster.wait(for: name, "handoff_backend_connections_active") { $0 == 1 }
        }

        // Its successor is another node to the distributor, which forgets the connections of this one, and no others.
        let second = try cluster.process("be2")
        second.signal(SIGTERM)
        try cluster.waitForLog("be2", "draining 1 connections")
        second.signal(SIGTERM)
        #expect(second.wait(seconds: 15)?.isSuccess == true)
        try cluster.startFront(of: cluster.node("be2"))
        try cluster.waitUntilServing()
        downloads["be1"]?.read(within: 20)
        #expect(downloads["be1"]?.isComplete == true, "\(downloads["be1"]?.outcome ?? "")")
        try cluster.getAllPages()

        downloads.removeAll()
        try cluster.wait(for: "fe1", "handoff_distributor_live_flows") { $0 == 0 }
      }
    }

    /// A dispatcher whose host hangs: connections stay open and nothing is answered.
    @Test func dispatcherSilent() throws {
      try FailureCluster.with(FailureCluster.plan([.nginx, .nginx], policy: "lard")) { cluster in
        let dispatcher = try cluster.process("dispatcher")
        let bound = try cluster.bound(4)
        dispatcher.signal(SIGSTOP)
        let longest = try cluster.getAllPages()
        print("a silent dispatcher: requests took up to \(longest) s")
        #expect(longest < bound, "requests took up to \(longest) s")
        #expect(try cluster.metric("fe1", "handoff_distributor_local_decisions_total") > 0)
        dispatcher.signal(SIGCONT)
        _ = try Eventually.within(20) {
          try cluster.getAllPages()
          return try cluster.metric("dispatcher", "handoff_dispatcher_peers")
        } until: {
          $0 >= 3
        }
      }
    }
  }
}
