// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// Segments that really travel over `lo`: what the kernel makes of an assignment, and what the tracepoint tells.
struct ServeConnectionTests {
  private final class Node {
    let interface: TestInterface
    let plane: ServePlane
    let listener: StreamSocket

    init(listenAt server: Endpoint, loops: Int = 1) throws {
      interface = try ServeBench.node()
      listener = try interface.namespace.perform { try StreamSocket.listen(at: server) }
      plane = try interface.namespace.perform {
        let plane = try ServePlane.attach(
          ServePlaneConfiguration(
            interface: "d0", serverPort: ServeBench.serverPort, serverAddressIPv4: ServeBench.loopback4,
            serverAddressIPv6: ServeBench.loopback6, loops: loops, packetPort: ServeBench.packetPort,
            packetKey: ServeBench.packetKey))
        try plane.setServices([Addresses.service4, Addresses.service6])
        return plane
      }
    }

    deinit {
      let plane = self.plane
      try? interface.namespace.perform { plane.detach() }
    }

    /// Hands a connection over whose request is three bytes.
    func inject(_ snapshot: TCPSnapshot, loop: Int = 0) throws {
      try plane.pending.insert(snapshot, sequence: SequenceNumber(5000), token: 9, loop: loop, .new)
      let packet = Frame.tcp(snapshot.flow, [.ack, .psh], payload: [1, 2, 3]).packet
      let sent = try interface.namespace.perform {
        var sender = try RawPacketSender()
        let range: InlineArray<1, Range<Int>> = [0..<packet.count]
        return sender.send(range.span, of: packet.span)
      }
      #expect(sent == 1)
    }

    /// The next connection of the web server.
    func accept() throws -> Accepted {
      guard let accepted = try listener.accept() else { throw Unexpected(description: "no connection waits") }
      return Accepted(peer: accepted.peer, raw: accepted.take().intoRaw())
    }

    /// What the agent would wait for.
    func wait(within seconds: Double = 5, until done: (ServeCounters) -> Bool) -> Bool {
      let deadline = MonotonicTime.now() + UInt64(seconds * 1e9)
      while MonotonicTime.now() < deadline {
        if done(plane.counters()) { return true }
        sched_yield()
      }
      return false
    }
  }

  private struct Accepted {
    let peer: Endpoint
    let raw: Int32
  }

  private static let flows = [Addresses.flow4, Addresses.flow6]

  /// Where the server may listen.
  enum Place: String, CaseIterable, Sendable {
    case loopback, everywhere, servedAddress

    func endpoint(_ flow: FlowTuple) -> Endpoint {
      let isIPv4 = flow.service.address.isIPv4
      let address =
        switch self {
        case .loopback: isIPv4 ? ServeBench.loopback4 : ServeBench.loopback6
        case .everywhere: isIPv4 ? IPAddress(ipv4: 0) : IPAddress(high: 0, low: 0)
        case .servedAddress: flow.service.address
        }
      return Endpoint(address, ServeBench.serverPort)
    }
  }

  @Test(arguments: flows, Place.allCases)
  func aListenerTakesTheConnection(_ flow: FlowTuple, _ place: Place) throws {
    let node = try Node(listenAt: place.endpoint(flow))
    let ring = try node.plane.ring(0)
    try node.inject(.sample(flow))
    #expect(node.wait { $0[.assigned] == 1 && $0.established == 1 })
    #expect(node.plane.pending.result(of: flow) == nil, "the entry goes with the establishment")
    let accepted = try node.accept()
    #expect(accepted.peer == flow.client)
    var buffer = [UInt8](repeating: 0, count: 16)
    #expect(try StreamSocket.read(accepted.raw, into: &buffer, from: 0) == .bytes(3))
    #expect(buffer[..<3] == [1, 2, 3])
    #expect(ring.next() == ConnectionEvent(token: 9, origin: 0, kind: .established(nil)))
    // Closing with a reset ends it at once.
    StreamSocket.closeWithReset(accepted.raw)
    #expect(node.wait { $0.ended == 1 })
    let event = try #require(ring.next())
    #expect(event.token == 9)
    guard case .ended(let lastState, _, let fromClient, let toClient, let duration) = event.kind else {
      Issue.record("\(event)")
      return
    }
    #expect(lastState == TCPState.established.rawValue)
    #expect(fromClient == 3 && toClient == 0 && duration > 0)
    #expect(ring.next() == nil)
    let counters = node.plane.counters()
    #expect(counters.eventsLost == 0 && counters.untracked == 0 && counters.silenced == 0)
  }

  /// The kernel says no: the client's segments are too small for it.
  @Test(arguments: flows)
  func aRefusalIsTold(_ flow: FlowTuple) throws {
    let node = try Node(listenAt: Place.everywhere.endpoint(flow))
    try node.inject(.sample(flow, segmentSize: 100))
    #expect(node.wait { $0[.refused] == 1 })
    #expect(node.plane.pending.result(of: flow) == .refused(EINVAL))
    #expect(throws: Unexpected.self) { try node.accept() }
    #expect(node.plane.counters().established == 0)
  }

  /// The second segment of one handoff finds the connection of the first.
  @Test(arguments: flows)
  func aRepeatedSegmentFindsItsConnection(_ flow: FlowTuple) throws {
    let node = try Node(listenAt: Place.everywhere.endpoint(flow))
    try node.inject(.sample(flow))
    #expect(node.wait { $0.established == 1 })
    try node.inject(.sample(flow))
    #expect(node.wait { $0[.tupleBusy] == 1 })
    #expect(node.plane.pending.result(of: flow) == .tupleBusy)
    #expect(node.plane.counters().established == 1)
  }

  /// Without a ring for the loop, the ends of both events are counted as lost.
  @Test(arguments: flows)
  func eventsWithoutRoomAreCounted(_ flow: FlowTuple) throws {
    let node = try Node(listenAt: Place.everywhere.endpoint(flow))
    let before = node.plane.losses()
    try node.inject(.sample(flow), loop: 3)
    #expect(node.wait { $0.established == 1 && $0.eventsLost == 1 })
    StreamSocket.closeWithReset(try node.accept().raw)
    #expect(node.wait { $0.ended == 1 && $0.eventsLost == 2 })
    #expect(node.plane.losses() - before >= 2)
  }

  /// A handoff by packet becomes a connection once. What comes by `lo` has its route already, so that an IPv4 request in an
  /// IPv6 datagram ends there; `ServeHandoffTests` has that as well, up to the listener.
  @Test(arguments: [
    (Addresses.flow4, ServeBench.loopback4), (Addresses.flow6, ServeBench.loopback4),
    (Addresses.flow6, ServeBench.loopback6),
  ])
  func aPacketBecomesAConnection(_ flow: FlowTuple, _ over: IPAddress) throws {
    let node = try Node(listenAt: Place.everywhere.endpoint(flow))
    let ring = try node.plane.ring(0)
    ring.promiseToLive(until: MonotonicTime.now() + 60_000_000_000)
    let payload = ServeHandoffTests.payload(flow)
    for _ in 0..<2 {
      try node.interface.namespace.perform {
        let socket = try DatagramSocket(from: over)
        _ = try socket.send(payload.span, to: Endpoint(over, ServeBench.packetPort))
      }
    }
    #expect(
      node.wait { $0[.handoffAssigned] == 1 && $0[.handoffRepeated] == 1 && $0.established == 1 },
      "\(node.plane.counters())")
    let accepted = try node.accept()
    #expect(accepted.peer == flow.client)
    var buffer = [UInt8](repeating: 0, count: 16)
    #expect(try StreamSocket.read(accepted.raw, into: &buffer, from: 0) == .bytes(3))
    let event = try #require(ring.next())
    #expect(event.token == 7 && event.origin == 5, "\(event)")
    StreamSocket.closeWithReset(accepted.raw)
  }

  /// Every outcome has a test that ends in it.
  @Test func everyOutcomeIsReached() {
    let reached =
      Set(ServeRule.all.map(\.outcome)).union(ServePendingTests.cases.map(\.outcome))
      .union(ServeHandoffTests.cases.map(\.outcome)).union([.assigned, .refused, .handoffAssigned])
    #expect(reached == Set(ServeOutcome.allCases))
  }
}
