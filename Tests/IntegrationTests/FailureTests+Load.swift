// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel
import Testing
import Wire

extension IntegrationTests.FailureTests {
  /// Many connections and many bytes: what memory they take. `HANDOFF_LARGE=1` makes them as many as a machine of this
  /// kind is asked to hold.
  @Suite(.serialized)
  struct Load {
    static let isLarge = ProcessEnvironment.values["HANDOFF_LARGE"] == "1"
    static let connections = isLarge ? 10_000 : 2000
    static let megabytes = isLarge ? 1024 : 100
    /// What an agent may take for the buffers of a few busy connections.
    static let allowance = 24 << 20

    @Test func openConnections() throws {
      _ = try DescriptorLimit.raise()
      try FailureCluster.with(FailureCluster.plan([.nginx, .nginx])) { cluster in
        let names = ["be1", "be2", "fe1"]
        let processes = try names.map { try cluster.process($0) }
        try cluster.getAllPages()
        try cluster.wait(for: "be1", "handoff_backend_connections_active") { $0 == 0 }
        let memoryBefore = try processes.map { try cluster.memory(of: $0).now }
        let descriptorsBefore = try processes.map { try cluster.openDescriptors(of: $0) }

        var clients: [FailureClient] = []
        while clients.count < Load.connections {
          let batch = try (0..<250).map { try FailureClient(cluster, source: $0) }
          for client in batch { try client.finishConnecting() }
          try askEach(batch)
          clients += batch
        }
        try askEach(clients)
        let open = { (name: String) in try cluster.metric(name, "handoff_backend_connections_active") }
        // An agent hears of connections that its kernel took from packets a few milliseconds later.
        _ = try Eventually.within(10) {
          try open("be1") + open("be2")
        } until: {
          $0 == Double(Load.connections)
        }
        try cluster.wait(for: "fe1", "handoff_distributor_live_flows") { $0 == Double(Load.connections) }
        let memory = try processes.map { try cluster.memory(of: $0).now }
        for (index, name) in names.enumerated() {
          let used = memory[index] - memoryBefore[index]
          print(
            "\(Load.connections) connections: \(name) \(memory[index] >> 10) KiB resident,",
            "\(used / Load.connections) bytes for each of all connections")
          #expect(used < Load.connections * 8192, "\(name) took \(used) bytes more")
        }

        clients.removeAll()
        for name in ["be1", "be2"] { try cluster.wait(for: name, "handoff_backend_connections_active") { $0 == 0 } }
        try cluster.wait(for: "fe1", "handoff_distributor_live_flows") { $0 == 0 }
        for (index, process) in processes.enumerated() {
          _ = try Eventually.within(10) {
            try cluster.openDescriptors(of: process)
          } until: {
            // Checks of the web server and scrapes come and go.
            $0 <= descriptorsBefore[index] + 4
          }
        }
        let cpu = processes.map { ProcessTable.cpuSeconds(of: $0.pid) ?? 0 }
        print("processor seconds of \(names): \(cpu)")
      }
    }

    /// Every connection has a request under way before the first answer is read.
    private func askEach(_ clients: [FailureClient]) throws {
      for start in stride(from: 0, to: clients.count, by: 250) {
        let batch = clients[start..<min(start + 250, clients.count)]
        for client in batch { try client.request("/ready.txt") }
        for client in batch {
          client.read(within: 15)
          guard client.isComplete, client.status == 200 else { throw LabError(client.outcome) }
        }
      }
    }

    @Test func largeTransfers() throws {
      try FailureCluster.with(FailureCluster.plan([.nginx])) { cluster in
        let agent = try cluster.process("be1")
        let file = "\(cluster.documentRoot)/random.bin"
        let script = "head -c \(Load.megabytes)M /dev/urandom > \(file); sha256sum < \(file)"
        let digest = try Command.run(["sh", "-c", script], within: 120).checked().output.prefix(64)
        let before = try cluster.memory(of: agent).now
        let url = "http://\(cluster.endpoints[0])"
        let start = MonotonicTime.now()
        let download = try cluster.client.run(
          ["sh", "-c", "curl -sS --fail \(url)/random.bin | sha256sum"], within: 180
        ).checked()
        let half = MonotonicTime.now()
        #expect(download.output.prefix(64) == digest)
        let upload = try cluster.client.run(
          ["curl", "-sS", "--fail", "-H", "Expect:", "-T", file, "\(url)/app/digest"], within: 180
        ).checked()
        #expect(upload.output == "\(Load.megabytes << 20) \(digest)\n")
        let memory = try cluster.memory(of: agent)
        print(
          "\(Load.megabytes) MiB: download \(Double(half - start) / 1e9) s,",
          "upload \(Double(MonotonicTime.now() - half) / 1e9) s, agent \(memory.peak >> 10) KiB resident at its peak,",
          "\(before >> 10) KiB before")
        #expect(memory.peak - before < Load.allowance)
      }
    }

    /// A client that does not read stops the server, not fills the agent.
    @Test func slowReader() throws {
      try FailureCluster.with(FailureCluster.plan([.nginx])) { cluster in
        let agent = try cluster.process("be1")
        let before = try cluster.memory(of: agent).now
        let path = "/slow.bin"
        let size = Load.megabytes << 20
        try Command.run(["truncate", "-s", "\(size)", cluster.documentRoot + path]).checked()
        let clients = try (0..<8).map { _ in try cluster.pausedDownload(path) }
        let relayed = { try cluster.metric("be1", "handoff_backend_relayed_bytes_total", ["from": "server"]) }
        // Still, for ten looks in a row, more than the metrics' interval.
        var (last, still) = (0.0, 0)
        _ = try Eventually.within(20) {
          let now = try relayed()
          still = now == last ? still + 1 : 0
          last = now
          return still
        } until: {
          $0 >= 20
        }
        #expect(last < Double(clients.count * 16 << 20), "\(last) bytes went out to clients that do not read")
        let memory = try cluster.memory(of: agent)
        print("\(clients.count) stalled downloads: agent \(memory.peak >> 10) KiB resident, \(before >> 10) KiB before")
        #expect(memory.peak - before < Load.allowance)
        for client in clients.prefix(2) {
          client.read(within: 60)
          #expect(client.isComplete && client.bodyRead == size, "\(client.outcome)")
        }
      }
    }
  }
}
