// SPDX-License-Identifier: Apache-2.0

import BackEnd
import Glibc
import Lab
import LinuxKernel
import Telemetry
import Testing
import Wire

/// Figures, printed; run on purpose: `HANDOFF_FIGURES=1 swift test -c release --filter FigureTests`.
@Suite(.serialized, .enabled(if: ProcessEnvironment.values["HANDOFF_FIGURES"] != nil)) struct FigureTests {
  struct Load: Sendable, CustomTestStringConvertible {
    var path: String
    var bytes: Int
    var connections: Int
    var testDescription: String { path }
  }

  /// Nanoseconds on the CPU of all threads whose name begins so (/proc/PID/task/TID/schedstat).
  private func threadTime(_ prefix: String) throws -> UInt64 {
    let shown = try Command.run(
      ["sh", "-c", "for t in /proc/\(getpid())/task/*; do echo $(cat $t/comm) $(cat $t/schedstat); done"]
    ).checked().output
    return shown.split(separator: "\n").filter { $0.hasPrefix(prefix) }
      .reduce(0) { $0 + (UInt64($1.split(separator: " ")[1]) ?? 0) }
  }

  @Test(arguments: [
    Load(path: "/close/10k", bytes: 10_000, connections: 3000),
    Load(path: "/close/1m", bytes: 1_000_000, connections: 600),
  ]) func costOfConnections(_ load: Load) throws {
    let bench = try AgentBench()
    let web = try WebServer(bench.network)
    #expect(bench.cluster.isReady())
    let before = try threadTime("be-")
    let started = MonotonicTime.now()
    for _ in 0..<load.connections {
      let client = try bench.connect()
      try client.send("GET \(load.path) HTTP/1.1\r\nHost: x\r\n\r\n")
      let answer = try client.receiveAll()
      #expect(answer.count > load.bytes)
      try client.shutdownWriting()
    }
    let seconds = Double(MonotonicTime.now() - started) / 1e9
    bench.expectBalancedBooks()
    let after = try threadTime("be-")
    let count = UInt64(load.connections)
    print(
      "FIGURE \(load.path): \((after - before) / count / 1000) us of CPU per connection; "
        + "\(Int(Double(count) / seconds))/s one at a time")
    try printInstallTime(bench)
    _ = web
  }

  private func printInstallTime(_ bench: AgentBench) throws {
    let family = try #require(bench.family("handoff_backend_install_seconds"))
    let count = family.samples.first { $0.suffix == "_count" }?.value ?? 0
    let sum = family.samples.first { $0.suffix == "_sum" }?.value ?? 0
    let buckets = family.samples.filter { $0.suffix == "_bucket" && $0.value > 0 }
      .map { "\($0.labels[0].value):\(Int($0.value))" }
    print(
      "FIGURE install mean \(Int(sum / max(1, count) * 1e6)) us of \(Int(count)); \(buckets.joined(separator: " "))")
  }

  @Test func aGigabyteDownAndUp() throws {
    let bench = try AgentBench()
    let size = 1 << 30
    let server = try ScriptedServer(bench.network) { connection in
      _ = try connection.receiveHead()
      let block = pattern(1 << 20)
      let sender = Worker {
        for _ in 0..<1024 { try connection.send(block) }
        try connection.shutdownWriting()
      }
      #expect(try connection.count() == size)
      try sender.join()
    }
    #expect(bench.cluster.isReady())
    let client = try bench.connect()
    try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    #expect(eventually { bench.cluster.read { $0.accepted.count == 1 } })
    let before = try threadTime("be-")
    let started = MonotonicTime.now()
    let uploader = Worker {
      let block = pattern(1 << 20)
      for _ in 0..<1024 { try client.send(block) }
      try client.shutdownWriting()
    }
    #expect(try client.count() == size)
    try uploader.join()
    bench.expectBalancedBooks()
    let seconds = Double(MonotonicTime.now() - started) / 1e9
    let cpu = Double(try threadTime("be-") - before) / 1e9
    print(
      "FIGURE 1 GiB each way at once: \(seconds) s, relay CPU \(cpu) s, resident \(ProcessUsage.current().residentBytes >> 20) MiB"
    )
    _ = server
  }

  @Test func asManyConnectionsAsDescriptorsAllow() throws {
    // Two descriptors at the agent and one at the client, all in this process.
    let count = min(10_000, (Int(clamping: try DescriptorLimit.raise().soft) - 500) / 3)
    let bench = try AgentBench()
    let web = try WebServer(bench.network)
    #expect(bench.cluster.isReady())
    let resident = ProcessUsage.current().residentBytes
    var clients: [TestSocket] = []
    for index in 0..<count {
      let client = try bench.connect(isIPv4: index % 2 == 0)
      try client.send("GET /10k HTTP/1.1\r\nHost: x\r\n\r\n")
      clients.append(client)
    }
    let expected = web.file("10k")
    var good = 0
    for client in clients { good += same(try client.receiveResponse().body, expected) ? 1 : 0 }
    #expect(good == count)
    #expect(eventually { bench.metric("handoff_backend_connections_active") == count })
    print(
      "FIGURE \(count) open: \((ProcessUsage.current().residentBytes - resident) >> 10) KiB more resident (test and agent)"
    )
    for client in clients { try client.shutdownWriting() }
    for client in clients { #expect(try client.receiveAll().isEmpty) }
    bench.expectBalancedBooks()
    try printInstallTime(bench)
  }
}

extension TestSocket {
  /// Reads to the end and counts.
  fileprivate func count() throws -> Int {
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    var total = 0
    while true {
      switch try StreamSocket.read(socket.raw, into: &buffer, limit: buffer.count) {
      case .bytes(let got): total += got
      case .endOfStream: return total
      case .wouldBlock: try wait(for: POLLIN, "receive after \(total)")
      }
    }
  }
}
