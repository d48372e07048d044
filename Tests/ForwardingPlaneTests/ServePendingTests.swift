// SPDX-License-Identifier: Apache-2.0

import Handoff
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// The agent's segment of a handed-off connection: what the serving program does with it and says of it.
struct ServePendingTests {
  /// What is there besides the waiting connection.
  enum World: Hashable, Sendable, CaseIterable {
    case nobody
    /// The web server, at the loopback address alone.
    case loopbackServer
    /// The web server, at all addresses.
    case server
    /// The web server, at the served address and port.
    case serverAtService
    /// Somebody else's listener where clients dial.
    case stranger
    /// The web server, and a connection of the same 4-tuple.
    case busyTuple
    /// The web server, and a connection of the client to the web server's own port.
    case busyServerTuple
  }

  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var world: World
    var change: @Sendable (inout TCPSnapshot) -> Void = { _ in }
    var frame: @Sendable (FlowTuple) -> Frame = { Frame.tcp($0, [.ack, .psh], payload: [1, 2, 3]) }
    var origin = ServeBench.Origin.agent
    var outcome: ServeOutcome
    var result: PendingResult?
    var testDescription: String { name }
  }

  static let cases = [
    Case(name: "nobody listens", world: .nobody, outcome: .noListener, result: .noListener),
    Case(name: "only somebody else listens", world: .stranger, outcome: .noListener, result: .noListener),
    Case(name: "the 4-tuple is in use", world: .busyTuple, outcome: .tupleBusy, result: .tupleBusy),
    Case(
      name: "the client has a connection to the server's own port", world: .busyServerTuple, outcome: .noListener,
      result: .noListener),
    Case(
      name: "another sequence number", world: .server, change: { $0.receiveNext = $0.receiveNext.advanced(by: 1) },
      outcome: .noConnection, result: .waiting),
    Case(
      name: "another acknowledgment", world: .server, change: { $0.sendNext = $0.sendNext.advanced(by: -1) },
      outcome: .noConnection, result: .waiting),
    Case(
      name: "another port of the client", world: .server, change: { $0.flow.client.port += 1 },
      outcome: .noConnection, result: .waiting),
    Case(
      name: "another client", world: .server, change: { $0.flow.client.address.low ^= 1 }, outcome: .noConnection,
      result: .waiting),
    Case(name: "from outside", world: .server, origin: .wire, outcome: .noConnection, result: .waiting),
    Case(
      name: "a SYN with the same numbers", world: .server,
      frame: { Frame.tcp($0, [.syn, .ack], payload: [1, 2, 3]) }, outcome: .syn, result: .waiting),
    Case(
      name: "a port that is not served", world: .server,
      frame: { flow in
        Frame.tcp(
          FlowTuple(client: flow.client, service: Endpoint(flow.service.address, 81)), .ack, payload: [1, 2, 3])
      }, outcome: .notService, result: .waiting),
  ]

  @Test(arguments: cases, [Addresses.flow4, Addresses.flow6])
  func rule(_ example: Case, _ flow: FlowTuple) throws {
    let bench = try ServeBench()
    let sockets = try Self.make(example.world, flow, bench)
    var snapshot = TCPSnapshot.sample(flow)
    example.change(&snapshot)
    try bench.pending.insert(snapshot, sequence: snapshot.receiveNext.advanced(by: -3), token: 9, loop: 0, .new)
    var frame = example.frame(flow)
    if example.origin == .agent { frame = frame.onLoopback }
    let (run, outcomes) = try bench.run(frame, from: example.origin)
    #expect(outcomes == [example.outcome])
    let passes: Set<ServeOutcome> = [.syn, .notService]
    #expect(run.verdict == (passes.contains(example.outcome) ? .pass : .drop))
    #expect(run.frame == frame)
    #expect(bench.pending.result(of: snapshot.flow) == example.result)
    #expect(bench.pending.remove(snapshot.flow), "the entry went without a connection")
    #expect(sockets.allSatisfy { $0.socket.raw >= 0 })
  }

  /// The kernel takes assignments at a device's own hook alone: here every listener that the program finds shows as a
  /// refusal with EINVAL, and the entry says so. `ServeConnectionTests` has those that are taken.
  @Test(arguments: [World.loopbackServer, .server, .serverAtService], [Addresses.flow4, Addresses.flow6])
  func aListenerIsFound(_ world: World, _ flow: FlowTuple) throws {
    let bench = try ServeBench()
    let sockets = try Self.make(world, flow, bench)
    let snapshot = TCPSnapshot.sample(flow)
    try bench.pending.insert(snapshot, sequence: SequenceNumber(5000), token: 9, loop: 0, .new)
    let frame = Frame.tcp(flow, [.ack, .psh], payload: [1, 2, 3]).onLoopback
    for _ in 0..<2 {
      let (run, outcomes) = try bench.run(frame, from: .agent)
      #expect(outcomes == [.refused] && run.verdict == .drop && run.frame == frame)
      #expect(bench.pending.result(of: flow) == .refused(22))
    }
    #expect(sockets.allSatisfy { $0.socket.raw >= 0 })
  }

  /// An entry that went is no longer anything: its segment is data without a connection.
  @Test(arguments: [Addresses.flow4, Addresses.flow6])
  func aRemovedEntryInstallsNothing(_ flow: FlowTuple) throws {
    let bench = try ServeBench()
    let server = try Self.make(.server, flow, bench)
    let snapshot = TCPSnapshot.sample(flow)
    try bench.pending.insert(snapshot, sequence: SequenceNumber(5000), token: 9, loop: 0, .new)
    #expect(bench.pending.remove(flow))
    #expect(!bench.pending.remove(flow))
    #expect(throws: (any Error).self) {
      try bench.pending.insert(snapshot, sequence: SequenceNumber(5000), token: 9, loop: 0, .again)
    }
    let frame = Frame.tcp(flow, [.ack, .psh], payload: [1, 2, 3]).onLoopback
    let (run, outcomes) = try bench.run(frame, from: .agent)
    #expect(outcomes == [.noConnection] && run.verdict == .drop)
    #expect(server.count == 1)
  }

  final class Kept {
    let socket: StreamSocket
    init(_ socket: consuming StreamSocket) { self.socket = socket }
  }

  private static func make(_ world: World, _ flow: FlowTuple, _ bench: ServeBench) throws -> [Kept] {
    let isIPv4 = flow.service.address.isIPv4
    let port = ServeBench.serverPort
    let everywhere = isIPv4 ? IPAddress(ipv4: 0) : IPAddress(high: 0, low: 0)
    let loopback = isIPv4 ? ServeBench.loopback4 : ServeBench.loopback6
    switch world {
    case .nobody: return []
    case .loopbackServer: return [Kept(try bench.listen(at: Endpoint(loopback, port)))]
    case .server: return [Kept(try bench.listen(at: Endpoint(everywhere, port)))]
    case .serverAtService: return [Kept(try bench.listen(at: Endpoint(flow.service.address, port)))]
    case .stranger: return [Kept(try bench.listen(at: flow.service))]
    case .busyTuple:
      return try make(.server, flow, bench) + [Kept(try bench.connect(flow))]
    case .busyServerTuple:
      return try make(.server, flow, bench) + [
        Kept(try bench.connect(FlowTuple(client: flow.client, service: Endpoint(flow.service.address, port))))
      ]
    }
  }
}
