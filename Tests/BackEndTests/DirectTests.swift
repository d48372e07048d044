// SPDX-License-Identifier: Apache-2.0

import BackEnd
import BackEndCore
import ControlProtocol
import FoundationEssentials
import Glibc
import Handoff
import Lab
import LinuxKernel
import Telemetry
import Testing
import Wire

/// What only serving directly has to get right.
@Suite(.serialized) struct DirectTests {
  private let request = "GET /hello.html HTTP/1.1\r\nHost: x\r\n\r\n"

  private func handedOver(_ bench: AgentBench, from port: UInt16? = nil) throws -> TestSocket {
    let before = bench.cluster.read { $0.accepted.count }
    let client = try bench.connect(from: port)
    try client.send(request)
    #expect(eventually { bench.cluster.read { $0.accepted.count == before + 1 } })
    return client
  }

  private func ended(_ bench: AgentBench, _ outcome: String) -> Bool {
    eventually { bench.metric("handoff_backend_connections_ended_total", ["outcome": outcome]) == 1 }
  }

  /// The server takes nothing until all is decided: what its queue does not hold is refused, and what was refused never
  /// reaches it.
  @Test func aFullAcceptQueueIsRefusedAndNothingIsServedTwice() throws {
    let bench = try AgentBench(.direct)
    let opens = Locked(false)
    let server = try ScriptedServer(bench.network, backlog: 4, whenOpen: { opens.value }) { connection in
      _ = try connection.receiveHead()
    }
    #expect(bench.cluster.isReady())
    let clients = try (0..<20).map { _ in
      let client = try bench.connect()
      try client.send(request)
      return client
    }
    #expect(eventually { bench.cluster.read { $0.accepted.count + $0.refused.count == 20 } })
    let (accepted, refused) = bench.cluster.read { ($0.accepted.count, $0.refused.map(\.1)) }
    #expect(accepted >= 1 && refused.allSatisfy { $0 == .overloaded } && !refused.isEmpty, "\(accepted) \(refused)")
    #expect(eventually { bench.metric("handoff_backend_direct_retries_total") >= refused.count })
    opens.change { $0 = true }
    #expect(eventually { server.peers.count == accepted })
    for client in clients { try client.shutdownWriting() }
    bench.expectBalancedBooks()
    #expect(server.peers.count == accepted, "a refused request was served")
  }

  /// The distributor gives up a handoff that the server has taken already: the client must not see a reset, for its
  /// connection goes on elsewhere.
  @Test func anAbortedConnectionEndsWithoutAPacket() throws {
    let bench = try AgentBench(.direct)
    let errors = Locked<[Int32]>([])
    let server = try ScriptedServer(bench.network) { connection in
      _ = try connection.receiveHead()
      do {
        _ = try connection.receiveAll()
      } catch let error as SystemError {
        errors.change { $0.append(error.errno) }
      }
    }
    #expect(bench.cluster.isReady())
    let client = try handedOver(bench)
    let id = try #require(bench.cluster.read { $0.accepted.first })
    #expect(eventually { server.peers.count == 1 })
    bench.cluster.send(.abortHandoff(id))
    #expect(ended(bench, "aborted"))
    #expect(eventually { errors.value == [ECONNABORTED] }, "\(errors.value)")
    #expect(bench.metric("handoff_backend_resets_silenced_total") == 1)
    #expect(client.socket.pendingError() == nil)
    bench.expectBalancedBooks()
    let filters = try bench.network.node.run(["tc", "filter", "show", "dev", "eth0", "egress"]).checked().output
    #expect(filters.isEmpty, "the filter is there only while it is needed")
    let programs = try bench.network.node.expressPrograms()
    #expect(!programs.contains { $0.contains("handoff_silence") }, "as is the program at tcx")
  }

  /// A handoff as a distributor would make it of a client that is not there.
  /// Where the client has closed, the distributor knows from its packets; of other ends it is told that they are such.
  @Test(arguments: [false, true]) func endsWithoutTheClientAreToldApart(byServer: Bool) throws {
    let bench = try AgentBench(.direct)
    let server = try ScriptedServer(bench.network) { socket in
      _ = try socket.receiveHead()
      if byServer {
        socket.resetOnClose()
      } else {
        _ = try socket.receiveAll()
      }
    }
    #expect(bench.cluster.isReady())
    do {
      let client = try handedOver(bench)
      if byServer {
        #expect(throws: SystemError.self) { try client.receiveAll() }
      } else {
        try client.shutdownWriting()
        #expect(try client.receiveAll().isEmpty)
      }
    }
    #expect(ended(bench, byServer ? "server_reset" : "client_closed_first"))
    #expect(eventually { bench.cluster.read { $0.ended == $0.accepted } })
    #expect(bench.cluster.read { $0.cut == (byServer ? $0.accepted : []) })
    #expect(server.peers.count == 1)
  }

  private func invented(_ number: UInt32, port: UInt16, _ request: [UInt8]) -> Message {
    let snapshot = TCPSnapshot(
      flow: FlowTuple(client: Endpoint(TestNetwork.clientIPv4, port), service: TestNetwork.service(isIPv4: true)),
      sendNext: SequenceNumber(number &* 1_000_003), receiveNext: SequenceNumber(number &* 2_000_003),
      clientInitialSequence: SequenceNumber(number), sendWindow: 65_535, receiveWindow: 65_535,
      maximumSegmentSize: 1460, windowScale: .init(send: 7, receive: 7), sackPermitted: true,
      timestamps: .init(nextValue: 5000, recent: 100))
    return .handoff(
      HandoffRequest(id: HandoffID(slot: 1_000_000 + number, generation: 1), snapshot: snapshot, request: request))
  }

  /// The client's packets are dropped, so that the invented connections last.
  private func silence(_ bench: AgentBench) throws {
    let drop = "iptables -w -A OUTPUT -p tcp --tcp-flags RST RST -j DROP".split(separator: " ").map(String.init)
    try bench.network.client.run(drop).checked()
  }

  /// The client takes the port of a connection that is still open at the server: it has forgotten it.
  @Test func aNewConnectionReplacesAnOpenOneOfTheSameTuple() throws {
    let bench = try AgentBench(.direct)
    let errors = Locked<[Int32]>([])
    let server = try ScriptedServer(bench.network) { connection in
      _ = try connection.receiveHead()
      do {
        _ = try connection.receiveAll()
      } catch let error as SystemError {
        errors.change { $0.append(error.errno) }
      }
    }
    #expect(bench.cluster.isReady())
    try silence(bench)
    for number: UInt32 in 1...3 {
      bench.cluster.send(invented(number, port: 45_001, Array(request.utf8)))
      #expect(eventually { bench.cluster.read { $0.accepted.count == Int(number) } })
      #expect(eventually { server.peers.count == Int(number) })
    }
    #expect(eventually { errors.value == [ECONNABORTED, ECONNABORTED] }, "\(errors.value)")
    #expect(eventually { bench.metric("handoff_backend_tuples_freed_total") == 2 })
    #expect(bench.cluster.read { $0.refused.isEmpty })
    bench.agent.stop(draining: 0)
    bench.agent.join()
    bench.expectBalancedBooks()
  }

  /// Connections of two namespaces with the same 4-tuples at the same time: each agent sees its own alone.
  @Test func agentsOfOneKernelDoNotSeeEachOthersConnections() throws {
    let (left, right) = (try AgentBench(.direct), try AgentBench(.direct))
    let (leftWeb, rightWeb) = (try WebServer(left.network), try WebServer(right.network))
    #expect(left.cluster.isReady() && right.cluster.isReady())
    for port: UInt16 in 45_010..<45_020 {
      let pair = (try handedOver(left, from: port), try handedOver(right, from: port))
      #expect(try pair.0.receiveResponse().head.hasPrefix("HTTP/1.1 200"))
      #expect(try pair.1.receiveResponse().head.hasPrefix("HTTP/1.1 200"))
      #expect(eventually { left.metric("handoff_backend_connections_active") == 1 })
      #expect(eventually { right.metric("handoff_backend_connections_active") == 1 })
      try pair.0.shutdownWriting()
      #expect(try pair.0.receiveAll().isEmpty)
      #expect(eventually { left.metric("handoff_backend_connections_active") == 0 })
      #expect(right.metric("handoff_backend_connections_active") == 1)
      try pair.1.shutdownWriting()
      #expect(try pair.1.receiveAll().isEmpty)
      #expect(eventually { right.metric("handoff_backend_connections_active") == 0 })
    }
    left.expectBalancedBooks()
    right.expectBalancedBooks()
    _ = (leftWeb, rightWeb)
  }

  @Test func headsAndBodiesOfEverySizeArrive() throws {
    let bench = try AgentBench(.direct)
    let received = Locked<[Int]>([])
    let server = try ScriptedServer(bench.network) { connection in
      let head = try connection.receiveHead()
      let length = Int(head.split(separator: "Length: ")[1].split(separator: "\r\n")[0]) ?? -1
      let body = try connection.receive(length)
      #expect(same(body, pattern(length)))
      received.change { $0.append(length) }
    }
    #expect(bench.cluster.isReady())
    try silence(bench)
    let sizes = [0, 1, 1400, 16_000, 40_000, 59_900]
    for (index, size) in sizes.enumerated() {
      let request = Array("PUT / HTTP/1.1\r\nContent-Length: \(size)\r\n\r\n".utf8) + pattern(size)
      bench.cluster.send(invented(UInt32(index + 1), port: 45_100 + UInt16(index), request))
      #expect(eventually { received.value.count == index + 1 }, "\(size)")
    }
    #expect(received.value == sizes)
    #expect(eventually { bench.metric("handoff_backend_handoffs_direct_total") == sizes.count })
    bench.agent.stop(draining: 0)
    bench.agent.join()
    bench.expectBalancedBooks()
    _ = server
  }

  /// What a client without an option negotiates with the distributor is what its connection has at the server.
  @Test(arguments: ["tcp_timestamps", "tcp_sack", "tcp_window_scaling"])
  func optionsAreThoseThatWereNegotiated(missing: String) throws {
    let bench = try AgentBench(.direct)
    try bench.network.setClient(missing, 0)
    let web = try WebServer(bench.network)
    #expect(bench.cluster.isReady())
    let client = try handedOver(bench)
    #expect(try client.receiveResponse().head.hasPrefix("HTTP/1.1 200"))
    let shown = try bench.network.node.run(["ss", "-tnioO", "sport", "=", ":80"]).checked().output
    let line = shown.split(separator: "\n").first { $0.contains("bytes_acked") }.map(String.init) ?? ""
    #expect(line.contains(" ts ") == (missing != "tcp_timestamps"), "\(shown)")
    #expect(line.contains(" sack ") == (missing != "tcp_sack"), "\(shown)")
    #expect(line.contains(" wscale:") == (missing != "tcp_window_scaling"), "\(shown)")
    try client.send("GET /20m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    #expect(same(try client.receiveResponse().body, web.file("20m")))
    try client.shutdownWriting()
    bench.expectBalancedBooks()
  }

  @Test func aKilledAgentsConnectionsGoOnAndAreCountedByTheNext() async throws {
    let network = try TestNetwork()
    let path = network.node.path
    let web = try WebServer(network)
    let cluster = try PlayedCluster(in: network)
    cluster.serve([TestNetwork.service(isIPv4: true)])
    let client = Locked<TestSocket?>(nil)
    // The agent's process runs until it is killed from here.
    let pids = "/tmp/hbe-agent-\(getpid())"
    let killer = Worker {
      _ = cluster.isReady()
      let socket = try TestSocket.connect(in: network.client, to: TestNetwork.service(isIPv4: true))
      try socket.send("GET /20m HTTP/1.1\r\nHost: x\r\n\r\n")
      _ = try socket.receive(1000)
      client.change { $0 = socket }
      // Written just after the agent has started, in one piece.
      _ = eventually { (try? SystemFile.text(of: pids)).flatMap { Int32($0) } != nil }
      if let text = try? SystemFile.text(of: pids), let pid = Int32(text) { kill(pid, SIGKILL) }
    }
    await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String, pids = pids as String] in
      try NetworkNamespaceEntry.enter(path)
      _ = try BackEndRole.start(
        AgentBench.configuration(.direct), metrics: MetricsRegistry(), logger: AgentBench.logger)
      try FileAccess.write(Array("\(getpid())".utf8), to: pids)
      _ = eventually(within: 60) { false }
    }
    try killer.join()
    _ = try? Command.run(["rm", "-f", pids])
    let open = try #require(client.value)
    // Nobody is there, and the answer goes on.
    #expect(try open.receive(5_000_000).count == 5_000_000)
    let metrics = MetricsRegistry()
    let agent = try network.node.perform {
      try BackEndRole.start(AgentBench.configuration(.direct), metrics: metrics, logger: AgentBench.logger)
    }
    func metric(_ name: String) -> Double? {
      metrics.collect().first { $0.name == name }?.samples.reduce(0) { $0 + $1.value }
    }
    #expect(eventually { metric("handoff_backend_connections_adopted_total") == 1 })
    #expect(metric("handoff_backend_connections_active") == 1)
    #expect(eventually { cluster.read { $0.reports.last?.active == 1 } })
    #expect(try open.receive(10_000_000).count == 10_000_000)
    #expect(try open.receive(4_999_000).count == 4_999_000)
    try open.shutdownWriting()
    _ = try open.receiveAll()
    #expect(eventually { metric("handoff_backend_connections_active") == 0 }, "\(metrics.collect())")
    #expect(eventually { cluster.read { $0.reports.last?.active == 0 } })
    // Not by name: this agent has never heard it.
    #expect(eventually { cluster.read { $0.orphansEnded.map(\.service) == [TestNetwork.service(isIPv4: true)] } })
    agent.stop(draining: 5)
    agent.join()
    #expect(try network.node.run(["tc", "filter", "show", "dev", "lo", "ingress"]).checked().output.isEmpty)
    #expect(try network.node.expressPrograms() == [])
    _ = web
  }

  /// The kernel does not run the tracepoint's program for every end, and does not count all that it left out.
  /// `ComparisonPlanTests` has when it is looked for.
  @Test(arguments: [false, true]) func anEndThatTheKernelDoesNotTellIsFound(_ drains: Bool) throws {
    let earlier = Set(try Tracepoint.links())
    let bench = try AgentBench(.direct)
    let server = try ScriptedServer(bench.network) { connection in _ = try? connection.receiveAll() }
    #expect(bench.cluster.isReady())
    let client = try handedOver(bench)
    try Tracepoint.end(except: earlier)
    if drains { bench.agent.stop(draining: 60) }
    try client.shutdownWriting()
    #expect(try client.receiveAll().isEmpty)
    #expect(ended(bench, "unobserved"))
    #expect(bench.metric("handoff_backend_direct_events_lost_total") == 0)
    if drains { bench.agent.join() }
    _ = server
  }
}
