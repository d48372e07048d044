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

/// What the agent does when a side ends, fails or stands still, seen from both sides.
@Suite(.serialized) struct RelayTests {
  private let head = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

  /// Connects, sends the first request, waits until it is handed over.
  private func handedOver(_ bench: AgentBench) throws -> TestSocket {
    let before = bench.cluster.read { $0.accepted.count }
    let client = try bench.connect()
    try client.send(head)
    #expect(eventually { bench.cluster.read { $0.accepted.count == before + 1 } })
    return client
  }

  private func ended(_ bench: AgentBench, _ outcome: String) -> Bool {
    eventually { bench.metric("handoff_backend_connections_ended_total", ["outcome": outcome]) == 1 }
  }

  @Test func aClientThatEndsFirstStillGetsTheAnswer() throws {
    let bench = try AgentBench()
    let answer = pattern(2_000_000)
    let server = try ScriptedServer(bench.network) { connection in
      let upload = try connection.receiveAll()
      #expect(upload.count > 27)
      try connection.send(answer)
    }
    #expect(bench.cluster.isReady())
    let client = try handedOver(bench)
    try client.send(pattern(500_000))
    try client.shutdownWriting()
    #expect(same(try client.receiveAll(), answer))
    #expect(ended(bench, "client_closed_first"))
    #expect(server.peers == [try client.local])
    bench.expectBalancedBooks()
  }

  @Test func aServerThatEndsFirstStillGetsTheUpload() throws {
    let bench = try AgentBench()
    let upload = pattern(2_000_000)
    let server = try ScriptedServer(bench.network) { connection in
      _ = try connection.receiveHead()
      try connection.send("HTTP/1.1 200 OK\r\n\r\nbye")
      try connection.shutdownWriting()
      let received = try connection.receiveAll()
      #expect(same(received, upload))
    }
    #expect(bench.cluster.isReady())
    let client = try handedOver(bench)
    #expect(String(decoding: try client.receiveAll(), as: UTF8.self).hasSuffix("bye"))
    try client.send(upload)
    try client.shutdownWriting()
    #expect(ended(bench, "server_closed_first"))
    bench.expectBalancedBooks()
    _ = server
  }

  @Test func aServersResetReachesTheClientAsReset() throws {
    let bench = try AgentBench()
    let server = try ScriptedServer(bench.network) { connection in
      _ = try connection.receiveHead()
      try connection.send(pattern(100_000))
      connection.resetOnClose()
    }
    #expect(bench.cluster.isReady())
    let client = try handedOver(bench)
    let error = #expect(throws: SystemError.self) { _ = try client.receiveAll() }
    #expect(error?.errno == ECONNRESET)
    #expect(ended(bench, "server_reset"))
    bench.expectBalancedBooks()
    _ = server
  }

  @Test func aClientsResetReachesTheServerAsReset() throws {
    let bench = try AgentBench()
    let errors = Recorder()
    let server = try ScriptedServer(bench.network) { connection in
      _ = try connection.receiveHead()
      do {
        _ = try connection.receiveAll()
        errors.add("end of stream")
      } catch let error as SystemError {
        errors.add("\(error.errno)")
      }
    }
    #expect(bench.cluster.isReady())
    do {
      let client = try handedOver(bench)
      client.resetOnClose()
    }
    #expect(eventually { errors.all == ["\(ECONNRESET)"] }, "\(errors.all)")
    #expect(ended(bench, "client_reset"))
    bench.expectBalancedBooks()
    _ = server
  }

  /// The server sends far more than the client takes: what the agent holds stays small, and all arrives in the end.
  @Test func aSlowReaderHoldsTheServerBack() throws {
    let bench = try AgentBench { $0.holdPolicy.budget = 1 << 20 }
    let answer = pattern(64 << 20)
    let sent = Recorder()
    let server = try ScriptedServer(bench.network) { connection in
      _ = try connection.receiveHead()
      try connection.send(answer)
      sent.add("all")
      try connection.shutdownWriting()
    }
    #expect(bench.cluster.isReady())
    let client = try handedOver(bench)
    // Nothing is read for a while: the relay must come to rest with everything full.
    var last = -1
    #expect(
      eventually {
        let now = bench.metric("handoff_backend_relayed_bytes_total", ["from": "server"])
        defer { last = now }
        _ = eventually(within: 0.3) { false }
        return now > 0 && now == last
      })
    #expect(sent.all.isEmpty, "the server must be held back")
    #expect(bench.metric("handoff_backend_held_bytes") > 0)
    #expect(bench.metric("handoff_backend_held_bytes") <= 256 << 10)
    #expect(same(try client.receiveAll(), answer))
    try client.shutdownWriting()
    #expect(ended(bench, "server_closed_first"))
    bench.expectBalancedBooks()
    _ = server
  }

  /// The other way: the server does not read an upload.
  @Test func aSlowServerHoldsTheClientBack() throws {
    let bench = try AgentBench()
    let upload = pattern(64 << 20)
    let go = Recorder()
    let server = try ScriptedServer(bench.network) { connection in
      _ = try connection.receiveHead()
      #expect(eventually { !go.all.isEmpty })
      let received = try connection.receiveAll()
      #expect(same(received, upload))
      try connection.send("done")
    }
    #expect(bench.cluster.isReady())
    let client = try handedOver(bench)
    let sender = Worker {
      try client.send(upload)
      try client.shutdownWriting()
    }
    #expect(eventually { bench.metric("handoff_backend_held_bytes") > 0 })
    #expect(bench.metric("handoff_backend_held_bytes") <= 256 << 10)
    go.add("on")
    #expect(try client.receiveAll() == Array("done".utf8))
    try sender.join()
    #expect(ended(bench, "client_closed_first"))
    bench.expectBalancedBooks()
    _ = server
  }

  @Test func anAbortedHandoffVanishesForTheClientAndIsResetForTheServer() throws {
    let bench = try AgentBench()
    let errors = Recorder()
    let server = try ScriptedServer(bench.network) { connection in
      _ = try connection.receiveHead()
      do {
        _ = try connection.receiveAll()
        errors.add("end of stream")
      } catch let error as SystemError {
        errors.add("\(error.errno)")
      }
    }
    #expect(bench.cluster.isReady())
    let client = try handedOver(bench)
    bench.cluster.send(.abortHandoff(bench.cluster.read { $0.accepted[0] }))
    #expect(ended(bench, "aborted"))
    #expect(eventually { errors.all == ["\(ECONNRESET)"] }, "\(errors.all)")
    var byte: UInt8 = 0
    #expect(unsafe recvPeek(client.socket.raw, &byte) == -1)
    #expect(client.socket.pendingError() == nil, "the client saw nothing")
    bench.cluster.send(.abortHandoff(HandoffID(99)))
    #expect(eventually { bench.metric("handoff_backend_aborts_unknown_total") == 1 })
    #expect(bench.cluster.read { $0.ended.isEmpty })
    bench.expectBalancedBooks()
    _ = server
  }

  @Test func idleAndHalfClosedConnectionsEndInTheirTime() throws {
    let bench = try AgentBench {
      $0.idleTimeout = 1_500_000_000
      $0.halfClosedTimeout = 1_000_000_000
    }
    let server = try ScriptedServer(bench.network) { connection in
      if try connection.receiveHead().hasPrefix("GET /end") { return }
      _ = try? connection.receiveAll()
    }
    #expect(bench.cluster.isReady())
    let idle = try handedOver(bench)
    let halfClosed = try bench.connect()
    try halfClosed.send("GET /end HTTP/1.1\r\n\r\n")
    #expect(try halfClosed.receiveAll().isEmpty)
    #expect(ended(bench, "half_closed_timeout"))
    #expect(ended(bench, "idle_timeout"))
    #expect(throws: SystemError.self) { _ = try idle.receiveAll() }
    bench.expectBalancedBooks()
    _ = server
  }

  /// Nobody accepts: the handshake with the server stays under way until the time is over.
  @Test func aFullBacklogRefusesAfterTheDeadline() throws {
    let bench = try AgentBench { $0.connectTimeout = 400_000_000 }
    #expect(eventually { bench.cluster.read { $0.connected && $0.listening.count == 2 } })
    let listener = try bench.network.node.perform {
      try StreamSocket.listen(at: Endpoint(IPAddress(ipv4: 0x7f00_0001), 8080), backlog: 0)
    }
    // Fills the queue of one.
    let first = try bench.network.node.perform {
      let socket = try StreamSocket(familyOf: IPAddress(ipv4: 0))
      try socket.connect(to: Endpoint(IPAddress(ipv4: 0x7f00_0001), 8080))
      return socket
    }
    let client = try bench.connect()
    let started = MonotonicTime.now()
    try client.send(head)
    #expect(eventually { bench.cluster.read { $0.refused.map(\.1) == [.serverUnreachable] } })
    #expect(MonotonicTime.now() - started > 300_000_000)
    bench.expectBalancedBooks()
    _ = (listener.raw, first.raw)
  }

  @Test func limitsRefuse() throws {
    let bench = try AgentBench { $0.maximumConnections = 1 }
    let server = try ScriptedServer(bench.network) { connection in _ = try? connection.receiveAll() }
    #expect(bench.cluster.isReady())
    let first = try handedOver(bench)
    let second = try bench.connect()
    try second.send(head)
    #expect(eventually { bench.cluster.read { $0.refused.map(\.1) == [.overloaded] } })
    try first.shutdownWriting()
    #expect(try first.receiveAll().isEmpty)
    let third = try handedOver(bench)
    try third.shutdownWriting()
    #expect(try third.receiveAll().isEmpty)
    bench.expectBalancedBooks()
    _ = server
  }
}

/// Collects words from several threads.
final class Recorder: Sendable {
  private let words = Locked<[String]>([])
  func add(_ word: String) { words.change { $0.append(word) } }
  var all: [String] { words.value }
}
