// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import Glibc
import Lab
import LinuxKernel
import Testing
import Wire

extension IntegrationTests.FailureTests {
  @Suite(.serialized)
  struct Membership {
    @Test(arguments: [["fe1", "be1", "be2", "dispatcher"], ["be2", "dispatcher", "fe1", "be1"]])
    func anyOrderOfStart(_ order: [String]) throws {
      try FailureCluster.with(FailureCluster.plan([.nginx, .lighttpd])) { cluster in
        #expect(try cluster.stopFronts() == [])
        try cluster.startFronts(order)
        try cluster.waitUntilServing()
        try cluster.getAllPages()
      }
    }

    @Test func refusedByName() throws {
      try FailureCluster.with(FailureCluster.plan([.nginx, .nginx])) { cluster in
        let dispatcher = try cluster.node("dispatcher")
        // Another release.
        let socket = try cluster.node("be1").namespace.perform {
          let socket = try StreamSocket(familyOf: dispatcher.address.ipv4)
          try socket.connect(to: Endpoint(dispatcher.address.ipv4, 7000))
          var entry = pollfd(fd: socket.raw, events: Int16(POLLOUT), revents: 0)
          _ = unsafe poll(&entry, 1, 5000)
          return socket
        }
        var frame: [UInt8] = []
        Message.hello(Hello(version: 99, role: .backEnd, instance: 1, name: "stranger")).encode(into: &frame)
        #expect(try socket.write(frame.span) == frame.count)
        try cluster.waitForLog("dispatcher", "node stranger speaks version 99")

        // A name that another node has.
        try cluster.process("be2").terminate(grace: 20)
        let be2 = try cluster.node("be2")
        let double = try be2.namespace.start(
          name: "double",
          [
            try LabTools.path(of: "cluster_startup"), "-BE", "-bp", "\(cluster.plan.serverPort)", "-da",
            "\(dispatcher.address.ipv4)", "--node-name", "be1", "--internal-address", "\(be2.address.ipv4)", "--admin",
            "\(ClusterNode.admin)",
          ], logFile: "\(cluster.run.folder)/double.log")
        defer { double.terminate(grace: 10) }
        _ = try Eventually.within(10) {
          double.log()
        } until: {
          $0.contains("refuses this node") && $0.contains("be1")
        }
        try cluster.waitForLog("dispatcher", "be1")
        // The node that has the name goes on.
        try cluster.getAllPages()
        #expect(try cluster.metric("be1", "handoff_backend_dispatcher_connected") == 1)
        #expect(double.terminate(grace: 20).isSuccess)
      }
    }

    /// Packets between one server node and the others vanish; those of clients do not.
    @Test func partition() throws {
      try FailureCluster.with(FailureCluster.plan([.nginx, .nginx])) { cluster in
        let be1 = try cluster.node("be1")
        let (bound, boundWhenKnown) = (try cluster.bound(4), try cluster.bound(1))
        let others = try ["fe1", "dispatcher"].map { try cluster.node($0).address.ipv4 }
        for address in others {
          try be1.namespace.run(["iptables", "-w", "-A", "INPUT", "-s", "\(address)", "-j", "DROP"]).checked()
        }
        let start = MonotonicTime.now()
        var longest = 0.0
        var afterwards = 0.0
        while MonotonicTime.now() - start < 5_000_000_000 {
          let isLate = MonotonicTime.now() - start > 3_000_000_000
          let time = try cluster.getAllPages()
          longest = max(longest, time)
          if isLate { afterwards = max(afterwards, time) }
        }
        print("partition: requests took up to \(longest) s, \(afterwards) s when it was known")
        #expect(longest < bound, "requests took up to \(longest) s")
        #expect(afterwards < boundWhenKnown, "requests took up to \(afterwards) s when the partition was known")
        for address in others {
          try be1.namespace.run(["iptables", "-w", "-D", "INPUT", "-s", "\(address)", "-j", "DROP"]).checked()
        }
        try cluster.wait(
          for: "dispatcher", "handoff_dispatcher_back_end_state", ["back_end": "be1", "state": "up"]
        ) { $0 == 1 }
        let before = try cluster.metric("be1", "handoff_backend_handoffs_total", ["outcome": "accepted"])
        _ = try Eventually.within(15) {
          try cluster.getAllPages()
          return try cluster.metric("be1", "handoff_backend_handoffs_total", ["outcome": "accepted"])
        } until: {
          $0 > before
        }
      }
    }

    @Test func terminationDrains() throws {
      let plan = FailureCluster.plan([.nginx, .nginx], options: ["--drain-seconds", "20"])
      try FailureCluster.with(plan) { cluster in
        var clients = try cluster.downloadsOnBothNodes()
        let be1 = try cluster.process("be1")
        let bound = try cluster.bound(2)
        be1.signal(SIGTERM)
        try cluster.waitForLog("be1", "draining")
        #expect(try cluster.getAllPages() < bound)
        #expect(be1.isRunning)
        try #require(clients["be1"]).read(within: 15)
        #expect(clients["be1"]?.isComplete == true, "\(clients["be1"]?.outcome ?? "")")
        // The agent ends with its last connection: this client's end of the kept-alive one.
        clients["be1"] = nil
        #expect(be1.wait(seconds: 10)?.isSuccess == true)

        let second = try #require(clients["be2"])
        let be2 = try cluster.process("be2")
        be2.signal(SIGTERM)
        try cluster.waitForLog("be2", "draining")
        #expect(be2.isRunning)
        be2.signal(SIGTERM)
        #expect(be2.wait(seconds: 3)?.isSuccess == true, "a second SIGTERM ends at once")
        second.read(within: 10)
        #expect(!second.isComplete && second.end != .open, "\(second.outcome)")
      }
    }

    @Test func drainHasAnEnd() throws {
      let plan = FailureCluster.plan([.nginx], options: ["--drain-seconds", "1"])
      try FailureCluster.with(plan) { cluster in
        let client = try cluster.pausedDownload(FailureCluster.downloads[0])
        let agent = try cluster.process("be1")
        agent.signal(SIGTERM)
        #expect(agent.wait(seconds: 5)?.isSuccess == true)
        client.read(within: 10)
        #expect(!client.isComplete && client.end != .open, "\(client.outcome)")
      }
    }
  }
}
