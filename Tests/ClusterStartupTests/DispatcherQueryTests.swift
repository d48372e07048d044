// SPDX-License-Identifier: Apache-2.0

import AdminReports
import ControlChannel
import ControlProtocol
import Foundation
import LinuxKernel
import Rules
import Synchronization
import Telemetry
import Testing
import Wire

@testable import ClusterControl

/// `clusterctl why` and `clusterctl top` against the program itself, with nodes on real control connections.
@Suite(.serialized) struct DispatcherQueryTests {
  /// Control connections that stand for nodes, kept alive by a thread of their own: a dispatcher gives up a peer that says
  /// nothing for two seconds, and beside other tests a program may take longer.
  private final class Peers: Sendable {
    private struct State {
      var connections: [ControlConnection] = []
      var decisions: [Decision] = []
      var backEnds: [Int] = []

      mutating func turn(_ index: Int) {
        let connection = connections[index]
        // A connection under way cannot be read yet.
        try? connection.flush()
        _ = try? connection.keepAlive(now: MonotonicTime.now())
        try? connection.receive(now: MonotonicTime.now()) { message in
          switch message {
          case .decisions(let answers): decisions += answers
          case .clusterView(let view): backEnds[index] = view.backEnds.count
          default: break
          }
        }
      }
    }

    private let state = Mutex(State())
    private let isOver = Published(false)
    private let thread = Mutex<WorkerThread?>(nil)

    init(_ nodes: [(role: Role, name: String)], at endpoint: Endpoint) throws {
      for node in nodes {
        try state.withLock { state in
          let connection = try ControlConnection.dial(endpoint, now: MonotonicTime.now())
          connection.send(.hello(Hello(role: node.role, instance: 1, name: node.name)))
          state.connections.append(connection)
          state.backEnds.append(0)
        }
      }
      let started = WorkerThread(name: "peers") { [self] in
        while !isOver.read() {
          state.withLock { state in for index in state.connections.indices { state.turn(index) } }
          if var epoll = try? Epoll(capacity: 1) { _ = epoll.wait(until: MonotonicTime.now() + 2_000_000) }
        }
      }
      thread.withLock { $0 = started }
    }

    func end() {
      isOver.publish(true)
      thread.withLock { $0 }?.join()
    }

    func send(_ message: Message, by index: Int) { state.withLock { $0.connections[index].send(message) } }

    /// What the first node has heard: decisions and the number of server nodes.
    func heard() -> (decisions: [Decision], backEnds: Int) { state.withLock { ($0.decisions, $0.backEnds[0]) } }

    func wait(until condition: ([Decision], Int) -> Bool) -> Bool {
      let deadline = RunningNode.deadline()
      while MonotonicTime.now() < deadline {
        let (decisions, backEnds) = heard()
        if condition(decisions, backEnds) { return true }
        if var epoll = try? Epoll(capacity: 1) { _ = epoll.wait(until: MonotonicTime.now() + 2_000_000) }
      }
      return false
    }
  }

  private func clusterctl(_ arguments: [String], _ node: RunningNode) async throws -> (status: Int32?, output: String) {
    let result = try await RunningNode.run(arguments + ["--dispatcher", "\(node.admin)"], program: "clusterctl")
    guard case .exited(let status) = result.status else { return (nil, result.output) }
    return (status, result.output)
  }

  @Test func whyAndTop() async throws {
    let file = FileManager.default.temporaryDirectory.appending(path: "handoff-\(UUID().uuidString).yaml")
    let urls = FileManager.default.temporaryDirectory.appending(path: "handoff-\(UUID().uuidString).txt")
    defer {
      try? FileManager.default.removeItem(at: file)
      try? FileManager.default.removeItem(at: urls)
    }
    try "- name: api\n  host: api.lab\n  pool: api\n  sticky: client\n".write(
      to: file, atomically: true, encoding: .utf8)
    try "/hot?x=1\n/cold\n".write(to: urls, atomically: true, encoding: .utf8)
    let node = try RunningNode(["-D", "--policy", "lardr", "--rules", file.path])
    _ = try await node.notification(with: "READY=1")

    let nobody = try await clusterctl(["why", "/x"], node)
    #expect(nobody.status == 0 && nobody.output.hasPrefix("is refused  because no node is up\n"))

    let peers = try Peers(
      [(.distributor, "front"), (.backEnd, "one"), (.backEnd, "two")], at: node.control)
    defer { peers.end() }
    for index in 1...2 {
      peers.send(
        .registerBackEnd(
          BackEndRegistration(
            address: IPAddress(ipv4: 0x7f00_0001), mac: MACAddress(bits: 1), handoffPort: 1, serverPort: 2, weight: 100,
            maximumConnections: 1000, pools: index == 2 ? ["api"] : [])), by: index)
      peers.send(.loadReport(LoadReport(ended: 0, active: 3, state: .up)), by: index)
    }
    #expect(peers.wait { $1 == 2 })

    // Asked twice before any request: nothing changes by asking.
    let first = try await clusterctl(["why", "http://www.lab/hot?x=1#part"], node)
    let second = try await clusterctl(["why", "http://www.lab/hot?x=1"], node)
    #expect(first.status == 0 && first.output == second.output)
    #expect(first.output.contains("the target is not known yet"))
    let target = TargetHash.key.hash(Array("/hot?x=1".utf8).span)
    peers.send(.decisionRequests((0..<5).map { DecisionRequest(id: $0, target: target) }), by: 0)
    #expect(peers.wait { decisions, _ in decisions.count == 5 })
    guard case .assigned(let id)? = peers.heard().decisions.first?.outcome else {
      Issue.record("no decision: \(peers.heard().decisions)")
      return
    }
    let third = try await clusterctl(["why", "/hot?x=1", "--host", "www.lab", "--json"], node)
    let report = try WhyReport(json: Data(third.output.utf8))
    #expect(report.outcome == "assigned" && report.reason == "mapped" && report.rule == nil)
    #expect(report.node == report.nodes[Int(id.rawValue)].name && report.replicas == [report.node])
    #expect(first.output.contains("goes to     \(report.node ?? "?"), "), "what was foretold came")
    #expect(report.nodes.map(\.connections).reduce(0, +) == 11)

    let api = try await clusterctl(
      ["why", "http://API.lab/x", "--client", "192.0.2.9", "--cookie", "a=1", "--method", "HEAD"], node)
    #expect(api.output.contains("rule        1 (api)\n"), "\(api.output)")
    #expect(api.output.contains("pool        api\n") && api.output.contains("sticks by   client\n"))
    #expect(api.output.contains("no candidate: not in the pool") && api.output.contains("<- chosen"))

    let top = try await clusterctl(["top", "--once", "--urls", urls.path], node)
    #expect(top.status == 0 && top.output.contains("/hot?x=1     5  \(report.node ?? "?")\n"), "\(top.output)")
    let json = try await clusterctl(["top", "--once", "--json", "--targets", "1"], node)
    let tops = try TopReport(json: Data(json.output.utf8))
    #expect(tops.hottest == [.init(hash: report.target, uses: 5, replicas: report.replicas)])
    #expect(tops.requests == 5 && tops.policy == "lard-r" && tops.nodes.map(\.pools) == report.nodes.map(\.pools))

    for (arguments, text) in [
      (["why", "ftp://x/"], "is no URL"), (["why", "/x", "--client", "nobody"], "--client: 'nobody' is no address"),
      (["why", "/a b"], "a distributor would answer this request with 400 by itself"),
      (["top", "--targets", "5000"], "--targets: give a number from 0 to 1000"),
    ] {
      let wrong = try await clusterctl(arguments, node)
      #expect(wrong.status != 0 && wrong.output.contains(text), "\(arguments): \(wrong.output)")
    }
    node.signal(.terminate)
    #expect(try await node.end() == .exited(0))
    let gone = try await clusterctl(["top", "--once"], node)
    #expect(gone.status == 1 && gone.output.contains("unreachable"))
  }

  @Test(arguments: [
    ("http://h/p?q", "h", "/p?q"), ("https://h:80", "h:80", "/"), ("HTTP://h?q", "h", "/?q"), ("/p", nil, "/p"),
    ("http://h/#f", "h", "/"),
  ])
  func urls(_ url: String, _ host: String?, _ target: String) {
    let parts = Why.parts(of: url)
    #expect(parts?.host == host && parts?.target == target)
  }

  @Test(arguments: ["", "x", "http://", "http:///p", "ftp://h/"])
  func wrongURLs(_ url: String) { #expect(Why.parts(of: url) == nil) }
}
