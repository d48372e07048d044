// SPDX-License-Identifier: Apache-2.0

import Foundation
import LinuxKernel
import Telemetry
import Testing
import Wire

@testable import ClusterStartup

/// The program itself, with a real dispatcher, on loopback: needs no privilege.
@Suite(.serialized) struct NodeProcessTests {
  @Test func dispatcherStartsServesAndEnds() async throws {
    let node = try RunningNode(["-D", "--policy", "lc"])
    _ = try await node.notification(with: "READY=1")
    #expect(try await node.get("/healthz").status == 503)
    #expect(try await node.get("/healthz").body.hasPrefix("dispatcher: waiting: "))
    let metrics = try await node.get("/metrics")
    #expect(metrics.status == 200)
    #expect(metrics.body.contains("handoff_role_state{role=\"dispatcher\",state=\"waiting\"} 1\n"))
    node.signal(.terminate)
    let messages = try await node.notification(with: "STOPPING=1")
    #expect(!messages.contains { $0.contains("READY=1") })
    #expect(try await node.end() == .exited(0))
    #expect(try node.output().contains("cluster_startup: ended"))
  }

  @Test func clusterctlAsksNodes() async throws {
    let node = try RunningNode(["-D"])
    _ = try await node.notification(with: "READY=1")
    let status = try await RunningNode.run(["status", "\(node.admin)"], program: "clusterctl")
    #expect(status.status == .exited(1))
    #expect(status.output.hasPrefix("\(node.admin)  dispatcher: waiting: "))
    let metrics = try await RunningNode.run(
      ["metrics", "--prefix", "handoff_role", "--nonzero", "\(node.admin)"], program: "clusterctl")
    #expect(metrics.status == .exited(0))
    #expect(metrics.output == "\(node.admin)  handoff_role_state{role=\"dispatcher\",state=\"waiting\"} 1\n")
    node.signal(.terminate)
    #expect(try await node.end() == .exited(0))
    let gone = try await RunningNode.run(["status", "\(node.admin)"], program: "clusterctl")
    #expect(gone.status == .exited(1))
    #expect(gone.output.contains("unreachable: connect on \(node.admin): Connection refused"))
  }

  @Test func interruptEndsTooAndThePortIsFreeAtOnce() async throws {
    let first = try RunningNode(["-D"])
    _ = try await first.notification(with: "READY=1")
    first.signal(.interrupt)
    #expect(try await first.end() == .exited(0))
    #expect(throws: Never.self) { _ = try StreamSocket.listen(at: first.control) }
  }

  @Test func hangUpReadsTheLogLevelAgain() async throws {
    let file = FileManager.default.temporaryDirectory.appending(path: "handoff-\(UUID().uuidString).yaml")
    defer { try? FileManager.default.removeItem(at: file) }
    try "log-level: error\n".write(to: file, atomically: true, encoding: .utf8)
    let node = try RunningNode(["-D", "--config", file.path])
    _ = try await node.notification(with: "READY=1")
    #expect(try node.output() == "")
    try "log-level: info\n".write(to: file, atomically: true, encoding: .utf8)
    node.signal(.hangUp)
    let deadline = RunningNode.deadline()
    while try !node.output().contains("log level read again level=info"), MonotonicTime.now() < deadline {
      _ = try await node.get("/healthz")
    }
    #expect(try node.output().contains("log level read again level=info"))
    node.signal(.terminate)
    #expect(try await node.end() == .exited(0))
  }

  @Test func nameThatDoesNotResolveIsWaitedForAndTold() async throws {
    // RFC 6761 section 6.4: .invalid never resolves.
    let node = try RunningNode(["-BE", "-bp", "80", "-da", "dispatcher.invalid"])
    let messages = try await node.notification(with: "does not resolve")
    #expect(messages.last?.contains("EXTEND_TIMEOUT_USEC=") == true)
    let health = try await node.get("/healthz")
    #expect(health.status == 503)
    #expect(health.body.hasPrefix("node: waiting: the dispatcher's name does not resolve (dispatcher.invalid"))
    node.signal(.terminate)
    #expect(try await node.end() == .exited(0))
  }

  @Test func controlPortInUseSaysSo() async throws {
    let first = try RunningNode(["-D"])
    _ = try await first.notification(with: "READY=1")
    let second = try await RunningNode.run([
      "-D", "--internal-address", "127.0.0.1", "--control-port", "\(first.control.port)", "--admin", "none",
    ])
    #expect(second.status == .exited(1))
    #expect(second.output.contains("cannot listen at \(first.control)"))
    #expect(second.output.contains("Address already in use"))
    let third = try await RunningNode.run([
      "-D", "--internal-address", "127.0.0.1", "--control-port", "\(first.control.port)", "--admin", "\(first.admin)",
    ])
    #expect(third.status == .exited(1))
    #expect(third.output.contains("The admin server cannot listen at \(first.admin)"))
    first.signal(.terminate)
    #expect(try await first.end() == .exited(0))
  }

  struct Call: Sendable, CustomTestStringConvertible {
    var arguments: [String]
    var status: Int32
    /// Part of the output.
    var text: String
    var testDescription: String { arguments.joined(separator: " ") }

    init(_ line: String, _ status: Int32, _ text: String) {
      arguments = line.split(separator: " ").map(String.init)
      self.status = status
      self.text = text
    }
  }

  @Test(arguments: [
    Call("--help", 0, "cluster_startup -FE -fp PORT -da HOST"),
    Call("--version", 0, "cluster_startup \(StartupCommand.version)"),
    Call("", 2, "No role was given"),
    Call("-FE", 2, "-fp is missing"),
    Call("--frob", 2, "Unknown option '--frob'"),
    Call("-fp", 2, "Missing value for '-fp <port>'"),
    Call("-D --config /nonexistent", 2, "'/nonexistent' cannot be read"),
    Call("-D --internal-address 127.0.0.1 --check", 0, "control connections at 127.0.0.1:7000"),
    Call(
      "-D --internal-address 192.0.2.77 --check", 1, "No interface of this host has the internal address 192.0.2.77"),
    Call("-D --policy x --check", 1, "--policy: 'x' is no policy"),
  ])
  func exitStatus(_ call: Call) async throws {
    let result = try await RunningNode.run(call.arguments)
    #expect(result.status == .exited(call.status))
    #expect(result.output.contains(call.text), "\(result.output)")
  }
}
