// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// Handoffs by packet that really travel, and the connections that the kernel makes of them.
struct ServeHandoffConnectionTests {
  private typealias Bench = ServeHandoffBench

  @Test(arguments: HandoffFrame.all) func aListenerTakesTheConnection(_ way: HandoffFrame) throws {
    let bench = try ServeHandoffBench()
    let server = try bench.listen()
    try bench.send(way.good)
    #expect(bench.wait { $0[.handoffAssigned] == 1 && $0.established == 1 }, "\(bench.plane.counters())")
    #expect(
      bench.ring.next()
        == ConnectionEvent(token: Bench.id.rawValue, origin: Bench.origin, kind: .established(way.flow)))
    #expect(bench.plane.pending.result(of: way.flow) == nil, "the entry goes with the establishment")
    // Copies, while the connection stands.
    try bench.send(way.good)
    #expect(bench.wait { $0[.handoffRepeated] == 1 })
    // Another one of the same client, which has a connection.
    let second = HandoffID(slot: 8, generation: 1)
    try bench.send(way.frame(way.payload(id: second)))
    #expect(bench.wait { $0[.tupleBusy] == 1 })
    #expect(
      bench.ring.next()
        == ConnectionEvent(token: second.rawValue, origin: Bench.origin, kind: .declined(.tupleBusy)))

    let listener = server[way.isIPv4 ? 0 : 1]
    guard let accepted = try listener.socket.accept() else {
      Issue.record("no connection waits")
      return
    }
    #expect(accepted.peer == way.flow.client)
    let raw = accepted.take().intoRaw()
    var buffer = [UInt8](repeating: 0, count: 64)
    #expect(try StreamSocket.read(raw, into: &buffer, from: 0) == .bytes(Bench.request.count))
    #expect(Array(buffer[..<Bench.request.count]) == Bench.request)
    StreamSocket.closeWithReset(raw)
    #expect(bench.wait { $0.ended == 1 })
    let end = try #require(bench.ring.next())
    #expect(end.token == Bench.id.rawValue && end.origin == Bench.origin)
    guard case .ended(let lastState, _, let fromClient, let toClient, _) = end.kind else {
      Issue.record("\(end)")
      return
    }
    #expect(lastState == TCPState.established.rawValue && fromClient == Bench.request.count && toClient == 0)
    // A copy is known as such when the connection is over, too.
    try bench.send(way.good)
    #expect(bench.wait { $0[.handoffRepeated] == 2 })
    #expect(bench.ring.next() == nil)
    let counters = bench.plane.counters()
    #expect(counters.established == 1 && counters.eventsLost == 0 && counters.untracked == 0)
  }

  /// The kernel does not run the tracepoint's program for every establishment.
  @Test(arguments: HandoffFrame.all) func theEndTellsOfAnUntoldBeginning(_ way: HandoffFrame) throws {
    let bench = try ServeHandoffBench()
    let server = try bench.listen()
    try bench.send(way.good)
    #expect(bench.wait { $0.established == 1 })
    #expect(bench.ring.next() != nil)
    guard let accepted = try server[way.isIPv4 ? 0 : 1].socket.accept() else {
      Issue.record("no connection waits")
      return
    }
    let raw = accepted.take().intoRaw()
    // As if the program had not been run: the socket has no record, and the entry is as the listener left it.
    try bench.forgetRecord(of: raw)
    try bench.enter(way.flow, result: SERVE_ASSIGNED)
    StreamSocket.closeWithReset(raw)
    #expect(bench.wait { $0.ended == 1 && $0.established == 2 })
    #expect(
      bench.ring.next()
        == ConnectionEvent(token: Bench.id.rawValue, origin: Bench.origin, kind: .established(way.flow)))
    let end = try #require(bench.ring.next())
    #expect(end.token == Bench.id.rawValue && end.origin == Bench.origin)
    #expect(bench.plane.pending.result(of: way.flow) == nil)
  }

  /// What has been at the listener and never became a connection may still be tried again.
  @Test(arguments: HandoffFrame.all) func anEntryThatWasNotAssignedStaysAtAnEnd(_ way: HandoffFrame) throws {
    let bench = try ServeHandoffBench()
    let server = try bench.listen()
    try bench.send(way.good)
    #expect(bench.wait { $0.established == 1 })
    guard let accepted = try server[way.isIPv4 ? 0 : 1].socket.accept() else {
      Issue.record("no connection waits")
      return
    }
    let raw = accepted.take().intoRaw()
    try bench.forgetRecord(of: raw)
    try bench.enter(way.flow, result: SERVE_TUPLE_BUSY)
    StreamSocket.closeWithReset(raw)
    // The program has run for it when it has run for the next one.
    let other = way.frame(way.payload(id: HandoffID(slot: 9, generation: 1)) { $0.flow.client.port += 1 })
    try bench.send(other)
    #expect(bench.wait { $0.established == 2 })
    #expect(bench.plane.counters().ended == 0 && bench.plane.pending.result(of: way.flow) == .tupleBusy)
  }

  /// The program has let it through; what the stack finds wrong makes no connection, and the entry waits for the agent.
  @Test(arguments: HandoffFrame.all) func aDamagedRequestMakesNoConnection(_ way: HandoffFrame) throws {
    let bench = try ServeHandoffBench()
    let server = try bench.listen()
    let last = way.good.bytes.count - 1
    try bench.send(way.good.with(way.good.bytes[last] ^ 1, at: last))
    #expect(bench.wait { $0[.handoffAssigned] == 1 })
    // The kernel is done with it when it is done with the next one.
    let other = way.frame(way.payload(id: HandoffID(slot: 9, generation: 1)) { $0.flow.client.port += 1 })
    try bench.send(other)
    #expect(bench.wait { $0.established == 1 })
    #expect(bench.plane.pending.result(of: way.flow) == .assigned)
    #expect(!bench.plane.pending.claim(origin: Bench.origin, handoff: Bench.id), "the kernel has taken it")
    let listener = server[way.isIPv4 ? 0 : 1]
    var peers: [UInt16] = []
    while let accepted = try listener.socket.accept() { peers.append(accepted.peer.port) }
    #expect(peers == [way.flow.client.port + 1])
  }

  /// A full accept queue leaves what the agent looks at when the distributor asks, and finds when nobody asks.
  @Test(arguments: HandoffFrame.all) func whatNobodyAsksForIsFound(_ way: HandoffFrame) throws {
    let bench = try ServeHandoffBench()
    let endpoint = Endpoint(IPAddress(way.isIPv4 ? "127.0.0.1" : "::1")!, Bench.serverPort)
    let server = try bench.interface.namespace.perform { try Bench.Listener(endpoint, backlog: 0) }
    try bench.send(way.frame(way.payload(id: HandoffID(slot: 9, generation: 1)) { $0.flow.client.port += 1 }))
    #expect(bench.wait { $0.established == 1 })
    try bench.send(way.good)
    #expect(bench.wait { $0[.handoffAssigned] == 2 })
    let pending = bench.plane.pending
    var own = TCPSnapshot.sample(way.flow)
    own.flow.client.port += 2
    try pending.insert(own, sequence: SequenceNumber(5000), token: 1, loop: 0, .new)
    typealias Leftover = PendingConnections.Leftover
    // The agent's own are its own business.
    let left = Leftover(flow: way.flow, origin: Bench.origin, id: Bench.id, isAssigned: true)
    #expect(pending.leftovers(loop: 0) == [left])
    #expect(pending.leftovers(loop: 1) == [])
    // Another one in the same place is another one.
    let second = HandoffID(slot: 10, generation: 1)
    try bench.send(way.frame(way.payload(id: second)))
    #expect(bench.wait { $0[.handoffAssigned] == 3 })
    #expect(
      pending.leftovers(loop: 0)
        == [Leftover(flow: way.flow, origin: Bench.origin, id: second, isAssigned: true)])
    #expect(pending.remove(way.flow))
    #expect(pending.leftovers(loop: 0) == [])
    #expect(pending.result(of: own.flow) == .waiting)
    #expect(bench.plane.counters().established == 1)
    _ = try server.socket.accept()
  }
}
