// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Lab
import LinuxKernel
import Testing

private enum Multipath {
  /// Whether this kernel has it.
  static let isThere = (try? SystemFile.text(of: "/proc/sys/net/mptcp/enabled"))?.hasPrefix("1") == true
}

extension IntegrationTests {
  /// A web server whose listener is of Multipath TCP, as Go's are by default: it takes no connection by
  /// `bpf_sk_assign_tcp_reqsk`.
  @Suite(.serialized, .enabled(if: Multipath.isThere))
  struct MultipathTests {
    private static let server = """
      import http.server, os, socket, sys
      listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 262)
      listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
      listener.bind(("::", int(sys.argv[1])))
      listener.listen(128)
      os.chdir(sys.argv[2])
      server = http.server.ThreadingHTTPServer(("", 0), http.server.SimpleHTTPRequestHandler, False)
      server.socket = listener
      server.serve_forever()
      """

    /// Puts such a server in the place of the first node's own.
    private func replaceServer(_ cluster: Cluster) throws {
      let node = try cluster.node("be1")
      try cluster.process("be1/web").kill()
      let command = ["/usr/bin/python3", "-c", Self.server, "\(cluster.plan.serverPort)", cluster.documentRoot]
      try cluster.start("be1/web", command, in: node, asUser: true)
      do {
        try cluster.waitForLog("be1", "of Multipath TCP")
      } catch {
        throw LabError("\(error); the web server: \(try cluster.process("be1/web").log())")
      }
    }

    private func problems(_ cluster: Cluster, _ mode: String) throws -> [String] {
      let node = try cluster.node("be1")
      let result = try node.namespace.run([
        try LabTools.path(of: "clusterctl"), "doctor", "--json", "--role", "back-end", "--address",
        "\(node.address.ipv4)", "--port", "\(cluster.plan.serverPort)", "--serve-mode", mode,
      ])
      return try JSONDecoder().decode(DoctorTests.Report.self, from: Data(result.standardOutput)).problems
    }

    @Test func autoRelays() throws {
      var plan = FailureCluster.plan([.lighttpd])
      plan.serve = "auto"
      try FailureCluster.with(plan) { cluster in
        try cluster.getAllPages()
        try replaceServer(cluster)
        try cluster.wait(
          for: "dispatcher", "handoff_dispatcher_back_end_state", ["back_end": "be1", "state": "up"]
        ) { $0 == 1 }
        // One at a time until the distributor has heard that this node takes no packets.
        func served(directly: Bool) throws -> Double {
          let names = ["handoff_backend_handoffs_direct_total", "handoff_backend_packet_handoffs_total"]
          let direct = try names.reduce(0) { try $0 + cluster.metric("be1", $1) }
          if directly { return direct }
          return try cluster.metric("be1", "handoff_backend_handoffs_total", ["outcome": "accepted"])
        }
        try cluster.waitUntilServing()
        let before = try (all: served(directly: false), directly: served(directly: true))
        try cluster.getAllPages()
        _ = try Eventually.within(10) {
          try served(directly: false)
        } until: {
          $0 >= before.all + Double(FailureCluster.site.pages.count)
        }
        #expect(try served(directly: true) == before.directly)
        #expect(try problems(cluster, "auto") == ["lost web server, IPv4", "lost web server, IPv6"])
        #expect(try problems(cluster, "repair") == [])
      }
    }

    @Test func directRefuses() throws {
      var plan = FailureCluster.plan([.lighttpd])
      plan.serve = "direct"
      try FailureCluster.with(plan) { cluster in
        try cluster.getAllPages()
        try replaceServer(cluster)
        try cluster.wait(
          for: "dispatcher", "handoff_dispatcher_back_end_state", ["back_end": "be1", "state": "up"]
        ) { $0 == 0 }
        let client = try FailureClient(cluster)
        try client.finishConnecting()
        try client.request("/ready.txt")
        client.read(within: 10)
        #expect(client.status == 503, "\(client.outcome)")
        #expect(try problems(cluster, "direct") == ["missing web server, IPv4", "missing web server, IPv6"])
      }
    }
  }
}
