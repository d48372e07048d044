// SPDX-License-Identifier: Apache-2.0

import BackEnd
import BackEndCore
import ControlProtocol
import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

/// Handoffs by packet, as a real agent tells of them: most of clients that are not there.
@Suite(.serialized) struct PacketHandoffTests {
  private let request = Array("GET /hello.html HTTP/1.1\r\nHost: x\r\n\r\n".utf8)

  /// An agent that takes packets, with a server of which the test counts the requests.
  private struct Node {
    let bench: AgentBench
    let server: ScriptedServer
    let requests = Locked(0)
    /// Connections that were cut, by errno.
    let errors = Locked<[Int32]>([])
    let offer: PacketHandoffOffer

    init(backlog: Int32 = 1024, whenOpen isOpen: @escaping @Sendable () -> Bool = { true }) throws {
      bench = try AgentBench(.direct)
      server = try ScriptedServer(bench.network, backlog: backlog, whenOpen: isOpen) { [requests, errors] connection in
        _ = try connection.receiveHead()
        requests.change { $0 += 1 }
        do {
          _ = try connection.receiveAll()
        } catch let error as SystemError {
          errors.change { $0.append(error.errno) }
        }
      }
      #expect(bench.cluster.isReady())
      offer = try bench.offer()
      // Nobody resets what no client began.
      let drop = "iptables -w -A OUTPUT -p tcp --tcp-flags RST RST -j DROP".split(separator: " ").map(String.init)
      try bench.network.client.run(drop).checked()
    }

    /// Ends every connection and checks that all is accounted for.
    func end(_ location: SourceLocation = #_sourceLocation) {
      bench.agent.stop(draining: 0)
      bench.agent.join()
      bench.expectBalancedBooks(location)
    }
  }

  /// Of a client that is not there.
  private func invented(_ number: UInt32, port: UInt16? = nil, _ request: [UInt8]? = nil) -> HandoffRequest {
    let snapshot = TCPSnapshot(
      flow: FlowTuple(
        client: Endpoint(TestNetwork.clientIPv4, port ?? UInt16(45_000 + number)),
        service: TestNetwork.service(isIPv4: true)),
      sendNext: SequenceNumber(number &* 1_000_003), receiveNext: SequenceNumber(number &* 2_000_003),
      clientInitialSequence: SequenceNumber(number), sendWindow: 65_535, receiveWindow: 65_535,
      maximumSegmentSize: 1460, windowScale: .init(send: 7, receive: 7), sackPermitted: true,
      timestamps: .init(nextValue: 5000, recent: 100))
    return HandoffRequest(
      id: HandoffID(slot: 1_000_000 + number, generation: 1), snapshot: snapshot, request: request ?? self.request,
      wasSentByPacket: true)
  }

  // MARK: Taken

  @Test(arguments: [true, false]) func aPacketBecomesTheServersConnection(isIPv4: Bool) throws {
    let bench = try AgentBench(.direct)
    let web = try WebServer(bench.network)
    #expect(bench.cluster.isReady())
    _ = try bench.offer()
    bench.cluster.sendByPacket()
    let client = try bench.connect(isIPv4: isIPv4)
    try client.send(request)
    let first = try client.receiveResponse()
    #expect(first.head.hasPrefix("HTTP/1.1 200") && first.body == Array("<p>hello</p>\n".utf8))
    #expect(eventually { bench.cluster.read { $0.taken.count == 1 } })
    #expect(bench.cluster.read { $0.accepted.isEmpty }, "nobody asked")
    try client.send("GET /20m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    #expect(same(try client.receiveResponse().body, web.file("20m")))
    #expect(try client.receiveAll().isEmpty)
    try client.shutdownWriting()
    #expect(eventually { bench.cluster.read { $0.ended == $0.taken } })
    #expect(bench.metric("handoff_backend_packet_handoffs_total") == 1)
    #expect(bench.metric("handoff_backend_serving_packets_total", ["outcome": "handoff_assigned"]) == 1)
    bench.expectBalancedBooks()
  }

  @Test func manyAreToldTogether() throws {
    let node = try Node()
    let before = node.bench.cluster.read { $0.newsMessages }
    let all = (1...200).map { invented($0) }
    try node.bench.pass(all, node.offer)
    #expect(eventually { node.bench.cluster.read { $0.taken.count == 200 } })
    #expect(node.bench.cluster.read { Set($0.taken) } == Set(all.map(\.id)))
    #expect(node.bench.cluster.read { $0.newsMessages } - before < 100)
    #expect(eventually { node.requests.value == 200 })
    node.end()
    #expect(node.bench.metric("handoff_backend_packet_handoffs_total") == 200)
  }

  @Test func endsAreTold() throws {
    let bench = try AgentBench(.direct)
    let server = try ScriptedServer(bench.network) { _ = try $0.receiveHead() }
    #expect(bench.cluster.isReady())
    let offer = try bench.offer()
    // Of most the end comes before anything was told: then it alone is.
    let all = (1...50).map { invented($0) }
    try bench.pass(all, offer)
    #expect(eventually { bench.cluster.read { Set($0.ended) == Set(all.map(\.id)) } })
    #expect(bench.cluster.read { $0.ended.count } == 50)
    #expect(bench.cluster.read { Set($0.taken).isSubset(of: $0.ended) })
    bench.expectBalancedBooks()
    #expect(eventually { server.peers.count == 50 })
  }

  /// The kernel does not run the tracepoint's program for every beginning either.
  @Test func aBeginningThatTheKernelDoesNotTellIsFound() throws {
    let earlier = Set(try Tracepoint.links())
    let node = try Node()
    try Tracepoint.end(except: earlier)
    let request = invented(1)
    try node.bench.pass([request], node.offer)
    #expect(eventually { node.requests.value == 1 })
    #expect(eventually { node.bench.cluster.read { $0.taken == [request.id] } })
    #expect(eventually { node.bench.metric("handoff_backend_connections_active") == 1 })
    node.end()
    #expect(node.requests.value == 1)
  }

  /// A worker whose control connection was broken asks what became of its connections.
  @Test func ofHeldFlowsThoseThatAreOverAreTold() throws {
    let node = try Node()
    let open = (1...3).map { invented($0) }
    try node.bench.pass(open, node.offer)
    #expect(eventually { node.bench.cluster.read { $0.taken.count == 3 } })
    var other = invented(3).snapshot.flow
    other.service.port += 1
    let over = [invented(4).snapshot.flow, other]
    node.bench.cluster.send(.flowsHeld(open.map(\.snapshot.flow) + over))
    #expect(eventually { node.bench.cluster.read { Set($0.orphansEnded) == Set(over) } })
    node.end()
  }

  // MARK: Packet and message

  @Test func theMessageOfATakenPacketIsAcceptedAndNotServedAgain() throws {
    let node = try Node()
    let all = (1...20).map { invented($0) }
    try node.bench.pass(all, node.offer)
    #expect(eventually { node.bench.cluster.read { $0.taken.count == 20 } })
    for request in all { node.bench.cluster.send(.handoff(request)) }
    #expect(eventually { node.bench.cluster.read { Set($0.accepted) == Set(all.map(\.id)) } })
    #expect(node.bench.cluster.read { $0.refused.isEmpty })
    node.end()
    #expect(node.requests.value == 20)
  }

  /// In any order and at the same time: each is served once, and the distributor hears of it.
  @Test func aMessageOnTheHeelsOfItsPacketIsServedOnce() throws {
    let node = try Node()
    for round: UInt32 in 0..<20 {
      let all = (1...10).map { invented(round * 10 + $0) }
      for request in all {
        if round % 2 == 0 { node.bench.cluster.send(.handoff(request)) }
        try node.bench.pass([request], node.offer)
        if round % 2 == 1 { node.bench.cluster.send(.handoff(request)) }
      }
      let ids = Set(all.map(\.id))
      #expect(eventually { node.bench.cluster.read { Set($0.accepted).isSuperset(of: ids) } }, "round \(round)")
    }
    #expect(node.bench.cluster.read { $0.refused.isEmpty && $0.wanted.isEmpty })
    #expect(eventually { node.requests.value == 200 })
    node.end()
    #expect(node.requests.value == 200)
  }

  @Test func theMessageOfALostPacketInstallsAndTheLatePacketIsDropped() throws {
    let node = try Node()
    node.bench.cluster.send(.handoff(invented(1)))
    #expect(eventually { node.bench.cluster.read { $0.accepted == [invented(1).id] } })
    #expect(eventually { node.requests.value == 1 })
    try node.bench.pass([invented(1)], node.offer)
    #expect(node.bench.dropped("handoff_repeated", 1))
    node.end()
    #expect(node.requests.value == 1)
    #expect(node.bench.cluster.read { $0.taken.isEmpty && $0.wanted.isEmpty })
    #expect(node.bench.metric("handoff_backend_packet_handoffs_total") == 0)
  }

  @Test func anAbortGoesBeforeItsPacket() throws {
    let node = try Node()
    node.bench.cluster.send(.abortHandoff(invented(1).id))
    #expect(eventually { node.bench.metric("handoff_backend_aborts_unknown_total") == 1 })
    try node.bench.pass([invented(1)], node.offer)
    #expect(node.bench.dropped("handoff_repeated", 1))
    // Another one is taken.
    try node.bench.pass([invented(2)], node.offer)
    #expect(eventually { node.bench.cluster.read { $0.taken == [invented(2).id] } })
    node.end()
    #expect(node.requests.value == 1)
  }

  @Test func anAbortEndsWhatWasTaken() throws {
    let node = try Node()
    try node.bench.pass([invented(1)], node.offer)
    #expect(eventually { node.requests.value == 1 })
    #expect(eventually { node.bench.cluster.read { $0.taken.count == 1 } })
    node.bench.cluster.send(.abortHandoff(invented(1).id))
    #expect(eventually { node.errors.value.count == 1 })
    node.end()
    #expect(node.bench.cluster.read { $0.ended.isEmpty }, "the distributor has uncounted it itself")
    #expect(node.bench.metric("handoff_backend_resets_silenced_total") == 1)
  }

  // MARK: Not taken

  /// The listener does not say when its queue is full: the distributor asks, and hears what became of each.
  @Test func aFullAcceptQueueIsTriedAgainAndRefused() throws {
    let opens = Locked(false)
    let node = try Node(backlog: 4, whenOpen: { opens.value })
    let all = (1...20).map { invented($0) }
    try node.bench.pass(all, node.offer)
    #expect(node.bench.dropped("handoff_assigned", 20), "the kernel gives them to the listener")
    for request in all { node.bench.cluster.send(.handoff(request)) }
    #expect(eventually { node.bench.cluster.read { $0.accepted.count + $0.refused.count == 20 } })
    let (accepted, refused) = node.bench.cluster.read { (Set($0.accepted), $0.refused.map(\.1)) }
    #expect(accepted.count >= 1 && !refused.isEmpty && refused.allSatisfy { $0 == .overloaded })
    opens.change { $0 = true }
    #expect(eventually { node.requests.value == accepted.count })
    node.end()
    #expect(node.requests.value == accepted.count, "a refused request was served")
  }

  @Test func aBusyTupleIsWantedByMessageAndFreed() throws {
    let node = try Node()
    try node.bench.pass([invented(1, port: 45_001)], node.offer)
    #expect(eventually { node.bench.cluster.read { $0.taken == [invented(1).id] } })
    try node.bench.pass([invented(2, port: 45_001)], node.offer)
    #expect(eventually { node.bench.cluster.read { $0.wanted == [invented(2).id] } })
    #expect(node.requests.value == 1)
    node.bench.cluster.send(.handoff(invented(2, port: 45_001)))
    #expect(eventually { node.bench.cluster.read { $0.accepted == [invented(2).id] } })
    #expect(eventually { node.requests.value == 2 && node.errors.value.count == 1 })
    node.end()
    #expect(node.bench.metric("handoff_backend_packet_handoffs_declined_total") == 1)
    #expect(node.bench.metric("handoff_backend_tuples_freed_total") == 1)
  }

  /// The server has closed first: its end of the tuple waits for a minute.
  @Test func whatIsLeftOfAConnectionIsWantedByMessageAndFreed() throws {
    let bench = try AgentBench(.direct)
    let web = try WebServer(bench.network)
    #expect(bench.cluster.isReady())
    let offer = try bench.offer()
    bench.cluster.sendByPacket()
    let port: UInt16 = 45_001
    do {
      let client = try bench.connect(from: port)
      try client.send("GET /close/hello.html HTTP/1.1\r\nHost: x\r\n\r\n")
      #expect(try client.receiveAll().count > 100)
    }
    #expect(eventually { bench.cluster.read { $0.ended.count == 1 } })
    #expect(
      try eventually {
        try bench.network.node.run(["ss", "-tan", "state", "time-wait", "sport", "=", ":80"]).checked().output
          .contains(":\(port)")
      })
    try bench.pass([invented(9, port: port)], offer)
    #expect(eventually { bench.cluster.read { $0.wanted == [invented(9).id] } })
    bench.cluster.send(.handoff(invented(9, port: port)))
    #expect(eventually { bench.cluster.read { $0.accepted == [invented(9).id] } })
    #expect(eventually { web.accessLog.contains("]:\(port) \"GET /hello.html") })
    bench.agent.stop(draining: 0)
    bench.agent.join()
    bench.expectBalancedBooks()
  }

  @Test func withoutAServerItIsWantedAndRefused() throws {
    let bench = try AgentBench(.direct)
    var web: WebServer? = try WebServer(bench.network)
    #expect(bench.cluster.isReady())
    let offer = try bench.offer()
    #expect(web != nil)
    web = nil
    try bench.pass([invented(1)], offer)
    #expect(eventually { bench.cluster.read { $0.wanted == [invented(1).id] } })
    bench.cluster.send(.handoff(invented(1)))
    #expect(eventually { bench.cluster.read { $0.refused.map(\.1) == [.serverUnreachable] } })
    bench.expectBalancedBooks()
  }

  // MARK: The agent's life

  @Test func drainingTakesTheOfferBack() throws {
    let node = try Node()
    try node.bench.pass([invented(1)], node.offer)
    #expect(eventually { node.requests.value == 1 })
    node.bench.agent.stop(draining: 60)
    #expect(eventually { node.bench.cluster.read { $0.offer.map { !$0.takesIPv4 && !$0.takesIPv6 } ?? false } })
    try node.bench.pass([invented(2)], node.offer)
    #expect(node.bench.dropped("handoff_unattended", 1), "whoever has not read it yet hears nothing")
    node.bench.cluster.send(.handoff(invented(2)))
    #expect(eventually { node.bench.cluster.read { $0.refused.map(\.1) == [.draining] } })
    node.bench.cluster.send(.handoff(invented(1)))
    #expect(eventually { node.bench.cluster.read { $0.accepted == [invented(1).id] } }, "it has this one")
    node.end()
    #expect(node.requests.value == 1)
  }

  @Test func aNodeThatTakesNoPacketsOffersNothing() throws {
    let bench = try AgentBench(.direct) { $0.acceptsPackets = false }
    let web = try WebServer(bench.network)
    #expect(bench.cluster.isReady())
    let client = try bench.connect()
    try client.send(request)
    #expect(try client.receiveResponse().head.hasPrefix("HTTP/1.1 200"))
    #expect(eventually { bench.cluster.read { $0.accepted.count == 1 } })
    #expect(bench.cluster.read { $0.offer == nil })
    try client.shutdownWriting()
    bench.expectBalancedBooks()
    _ = web
  }
}

extension AgentBench {
  /// What the agent says of handoffs by packet.
  fileprivate func offer() throws -> PacketHandoffOffer {
    #expect(eventually { cluster.read { $0.offer?.takesIPv4 == true } })
    return try #require(cluster.read { $0.offer })
  }

  /// Sends handoffs from the client's place, as a distributor there would.
  fileprivate func pass(_ requests: [HandoffRequest], _ offer: PacketHandoffOffer) throws {
    try network.client.perform {
      let socket = try DatagramSocket(from: TestNetwork.clientIPv4)
      for request in requests {
        let bytes = PlayedCluster.datagram(request, offer)
        #expect(try socket.send(bytes.span, to: Endpoint(TestNetwork.nodeIPv4, offer.port)))
      }
    }
  }

  /// Waits until the node's program has counted so many packets of an outcome.
  fileprivate func dropped(_ outcome: String, _ count: Int) -> Bool {
    eventually { metric("handoff_backend_serving_packets_total", ["outcome": outcome]) == count }
  }
}
