// SPDX-License-Identifier: Apache-2.0

import BackEnd
import BackEndCore
import ControlProtocol
import Glibc
import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

/// A real agent before a real nginx, with real clients.
@Suite(.serialized) struct WebServerTests {
  private let request = "GET /hello.html HTTP/1.1\r\nHost: x\r\n\r\n"

  @Test(arguments: ServeMode.both, [true, false])
  func nginxSeesTheClientAndAnswersIt(_ mode: ServeMode, isIPv4: Bool) throws {
    let bench = try AgentBench(mode)
    let web = try WebServer(bench.network)
    #expect(bench.cluster.isReady())
    let client = try bench.connect(isIPv4: isIPv4)
    for _ in 0..<5 {
      try client.send(request)
      let (head, body) = try client.receiveResponse()
      #expect(head.hasPrefix("HTTP/1.1 200"))
      #expect(body == web.file("hello.html"))
    }
    try client.send("GET /20m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    let (_, body) = try client.receiveResponse()
    #expect(same(body, web.file("20m")))
    #expect(try client.receiveAll().isEmpty, "the server closes after the last answer")
    let local = try client.local
    try client.shutdownWriting()
    #expect(eventually { web.accessLog.split(separator: "\n").count == 6 })
    let address = isIPv4 ? "\(TestNetwork.clientIPv4)" : "\(TestNetwork.clientIPv6)"
    for line in web.accessLog.split(separator: "\n") {
      #expect(line.hasPrefix("[\(address)]:\(local.port) "), "\(line)")
      #expect(line.hasSuffix("200 OK"))
    }
    bench.expectBalancedBooks()
    #expect(bench.metric("handoff_backend_connections_ended_total", ["outcome": "server_closed_first"]) == 1)
    #expect(bench.metric("handoff_backend_relayed_bytes_total", ["from": "server"]) > 20_000_000)
    #expect(bench.metric("handoff_backend_handoffs_direct_total") == (mode == .direct ? 1 : 0))
    #expect(eventually { bench.cluster.read { $0.ended == $0.accepted && $0.ended.count == 1 } })
    #expect(eventually { bench.cluster.read { $0.reportedEnds == 1 && $0.reports.last?.active == 0 } })
  }

  @Test func registrationTellsWhereTheAgentIs() throws {
    let bench = try AgentBench()
    #expect(eventually { bench.cluster.read { $0.registration != nil } })
    let registration = try #require(bench.cluster.read { $0.registration })
    #expect(registration.address == TestNetwork.nodeIPv4)
    #expect(registration.serverPort == 8080)
    #expect(registration.handoffPort == 7801)
    let link = try bench.network.node.run(["ip", "-br", "link", "show", "eth0"]).checked()
    #expect(link.output.contains("\(registration.mac)"))
    #expect(eventually { bench.cluster.read { $0.state == .down } }, "no web server yet")
    let web = try WebServer(bench.network)
    #expect(eventually { bench.cluster.read { $0.state == .up } }, "the web server came")
    web.process.terminate()
    #expect(eventually { bench.cluster.read { $0.state == .down } }, "the web server went")
  }

  @Test(arguments: ServeMode.both) func uploadsArriveWhole(_ mode: ServeMode) throws {
    let bench = try AgentBench(mode)
    let web = try WebServer(bench.network)
    #expect(bench.cluster.isReady())
    let client = try bench.connect()
    let body = pattern(20_000_000, seed: 11)
    try client.send("PUT /put/file HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.count)\r\n\r\n")
    // The played distributor does not hold packets during the handoff.
    #expect(eventually { bench.cluster.read { $0.accepted.count == 1 } })
    try client.send(body)
    let (head, _) = try client.receiveResponse()
    #expect(head.hasPrefix("HTTP/1.1 201"), "\(head)")
    #expect(same(web.file("put/file"), body))
    bench.agent.stop(draining: 0)
    bench.agent.join()
    #expect(throws: SystemError.self, "a connection cut by the agent's end is reset") { _ = try client.receiveAll() }
    #expect(bench.metric("handoff_backend_connections_ended_total", ["outcome": "drained"]) == 1)
  }

  /// The kernel ends a killed server's connections with FIN when it has read everything, with or without a relay: the
  /// client sees that the body is short.
  @Test(arguments: ServeMode.both)
  func aServerKilledInAResponseEndsItAndTheNextHandoffIsRefused(_ mode: ServeMode) throws {
    let bench = try AgentBench(mode)
    let web = try WebServer(bench.network)
    #expect(bench.cluster.isReady())
    let client = try bench.connect()
    try client.send("GET /20m HTTP/1.1\r\nHost: x\r\n\r\n")
    #expect(try client.receive(100_000).count == 100_000)
    web.process.kill()
    #expect(try client.receiveAll().count < 19_900_000)
    try client.shutdownWriting()
    #expect(
      eventually { bench.metric("handoff_backend_connections_ended_total", ["outcome": "server_closed_first"]) == 1 })
    let second = try bench.connect()
    try second.send(request)
    #expect(eventually { bench.cluster.read { $0.refused.map(\.1) == [.serverUnreachable] } })
    #expect(eventually { bench.cluster.read { $0.state == .down } })
    bench.expectBalancedBooks()
  }

  @Test(arguments: ServeMode.both) func aThousandConnectionsAtATime(_ mode: ServeMode) throws {
    let bench = try AgentBench(mode)
    let web = try WebServer(bench.network)
    #expect(bench.cluster.isReady())
    let clients = try (0..<1000).map { index in
      let client = try bench.connect(isIPv4: index % 4 != 0)
      try client.send("GET /10k HTTP/1.1\r\nHost: x\r\n\r\n")
      return client
    }
    let expected = web.file("10k")
    for client in clients { #expect(same(try client.receiveResponse().body, expected)) }
    #expect(eventually { bench.metric("handoff_backend_connections_active") == 1000 })
    for client in clients { try client.send(request) }
    for client in clients { #expect(try client.receiveResponse().head.hasPrefix("HTTP/1.1 200")) }
    for client in clients { try client.shutdownWriting() }
    for client in clients { #expect(try client.receiveAll().isEmpty) }
    bench.expectBalancedBooks()
    #expect(bench.metric("handoff_backend_connections_ended_total", ["outcome": "client_closed_first"]) == 1000)
    #expect(eventually { bench.cluster.read { $0.ended.count == 1000 } })
  }

  private static let rounds = HostFacts.environment("HANDOFF_LARGE") == "1" ? 50 : 15

  /// The client takes the same port again and again: what the last connection left must not be in the way.
  @Test(arguments: ServeMode.both, [(true, true), (true, false), (false, true), (false, false)])
  func theSamePortAgain(_ mode: ServeMode, _ variant: (serverCloses: Bool, timestamps: Bool)) throws {
    let (serverCloses, timestamps) = variant
    let bench = try AgentBench(mode)
    try bench.network.setClient("tcp_timestamps", timestamps ? 1 : 0)
    try bench.network.setClient("tcp_max_tw_buckets", 0)
    let web = try WebServer(bench.network)
    #expect(bench.cluster.isReady())
    for round in 0..<Self.rounds {
      let client = try bench.connect(from: 45_000)
      try client.send("GET \(serverCloses ? "/close/10k" : "/10k") HTTP/1.1\r\nHost: x\r\n\r\n")
      let (head, body) = try client.receiveResponse()
      try #require(head.hasPrefix("HTTP/1.1 200") && body.count == 10_000, "round \(round): \(head)")
      if serverCloses {
        #expect(try client.receiveAll().isEmpty)
        try client.shutdownWriting()
      } else {
        try client.shutdownWriting()
        #expect(try client.receiveAll().isEmpty)
      }
      #expect(eventually { bench.cluster.read { $0.ended.count == round + 1 } })
    }
    #expect(web.accessLog.split(separator: "\n").count == Self.rounds)
    bench.expectBalancedBooks()
    #expect(bench.cluster.read { $0.refused.isEmpty })
  }
}

extension ServeMode {
  /// The two ways themselves.
  static let both: [ServeMode] = [.repair, .direct]
}
