// SPDX-License-Identifier: Apache-2.0

import Handoff
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// Handoffs that come as one packet to the node's kernel. Those that become connections are in `ServeConnectionTests`.
struct ServeHandoffTests {
  /// What the kernel is told before the packet comes.
  enum World: Hashable, Sendable {
    /// Nobody listens, and the agent takes packets.
    case ready
    case takesNone
    case agentHangs
    /// The same handoff came before.
    case seen
    case full
  }

  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var world = World.ready
    /// Changes the datagram's payload.
    var change: @Sendable (inout [UInt8]) -> Void = { _ in }
    /// Changes the whole frame.
    var damage: @Sendable (Frame) -> Frame = { $0 }
    var serves = true
    var outcome: ServeOutcome
    var testDescription: String { name }
  }

  /// Where the request's IP header begins.
  private static let request = HandoffPacket.headerLength

  static let cases =
    [
      Case(name: "nobody listens", outcome: .noListener),
      Case(name: "no packets are taken", world: .takesNone, outcome: .notService),
      Case(name: "the agent hangs", world: .agentHangs, outcome: .handoffUnattended),
      Case(name: "a service that is not served", serves: false, outcome: .handoffUnattended),
      Case(name: "a second copy", world: .seen, outcome: .handoffRepeated),
      Case(name: "no room for one more", world: .full, outcome: .handoffFailed),
      Case(name: "nothing in the datagram", change: { $0 = [] }, outcome: .handoffMalformed),
      Case(name: "a header and no request", change: { $0 = Array($0.prefix(request)) }, outcome: .handoffMalformed),
      Case(name: "a cut request", change: { $0.removeLast() }, outcome: .handoffMalformed),
      Case(name: "another version", change: { $0[0] = 2 }, outcome: .handoffMalformed),
      Case(name: "version 5 inside", change: { $0[request] = 0x55 }, outcome: .handoffMalformed),
      Case(name: "UDP to another port", damage: { $0.with(0x12, at: $0.udpStart + 2) }, outcome: .notService),
      Case(name: "frame for another node", damage: { $0.with(2, 0, 0, 0, 0, 9, at: 0) }, outcome: .notService),
      Case(name: "a longer frame", damage: { $0.padded(by: 9) }, outcome: .noListener),
    ]
    // Every field of the header is under the tag: flags, shifts, MSS, loop, origin, handoff, timestamps, the tag itself.
    + [1, 2, 3, 5, 6, 8, 15, 16, 23, 24, 31, 32, 39].map { offset in
      Case(name: "byte \(offset) of the header is another one", change: { $0[offset] ^= 1 }, outcome: .handoffForged)
    }

  static func payload(_ flow: FlowTuple) -> [UInt8] {
    let packet = HandoffPacket(origin: 5, id: HandoffID(7), loop: 0, snapshot: .sample(flow))
    var bytes = [UInt8](repeating: 0, count: packet.length(requestBytes: 3))
    var span = bytes.mutableSpan
    let request: [UInt8] = [1, 2, 3]
    _ = packet.emit(request: request.span, key: ServeBench.packetKey, into: &span)
    return bytes
  }

  private static func frame(_ payload: [UInt8], overIPv4: Bool) -> Frame {
    let outer = Frame.outer(
      from: overIPv4 ? TunnelExitTests.distributor4 : TunnelExitTests.distributor6,
      to: overIPv4 ? TunnelExitTests.node4 : TunnelExitTests.node6, port: 50_000,
      destinationPort: ServeBench.packetPort, payload: payload.count)
    return Frame.carrying(outer + payload)
  }

  /// The flow's family with the family that carries it.
  static let families = [Addresses.flow4, Addresses.flow6].flatMap { flow in [(flow, true), (flow, false)] }

  @Test(arguments: cases, families)
  func rule(_ example: Case, _ family: (flow: FlowTuple, overIPv4: Bool)) throws {
    var flow = family.flow
    if !example.serves { flow.service.port = 81 }
    let bench = try ServeBench()
    try bench.takePackets(
      port: example.world == .takesNone ? 0 : ServeBench.packetPort, isAlive: example.world != .agentHangs)
    if example.world == .full { try bench.fillWaiting() }
    var payload = Self.payload(flow)
    example.change(&payload)
    let frame = example.damage(Self.frame(payload, overIPv4: family.overIPv4))
    if example.world == .seen { #expect(bench.pending.claim(origin: 5, handoff: HandoffID(7))) }
    // What failed may come again: it is not taken for a second copy.
    for _ in 0..<2 {
      let (run, outcomes) = try bench.run(frame)
      #expect(outcomes == [example.outcome])
      #expect(run.verdict == (example.outcome == .notService ? .pass : .drop))
      if example.outcome != .noListener { #expect(run.frame == frame) }
      #expect(bench.pending.result(of: flow) == nil, "an entry was left")
    }
  }

  @Test func garbageEndsInOneOutcome() throws {
    let bench = try ServeBench()
    try bench.takePackets()
    var random = SeededRandom(seed: 31)
    let frames = (0..<3000).map { _ -> (frame: Frame, origin: ServeBench.Origin) in
      let flow = Bool.random(using: &random) ? Addresses.flow4 : Addresses.flow6
      var frame = Self.frame(Self.payload(flow), overIPv4: Bool.random(using: &random))
      for _ in 0..<Int.random(in: 0...4, using: &random) {
        frame.bytes[Int.random(in: 12..<frame.bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      if Bool.random(using: &random) {
        frame = frame.truncated(to: Int.random(in: 54...frame.bytes.count, using: &random))
      }
      return (frame, .wire)
    }
    var reached: Set<ServeOutcome> = []
    for (round, (seen, frame)) in zip(try bench.run(frames), frames).enumerated() {
      #expect(seen.outcomes.count == 1, "seed 31, round \(round): \(seen.outcomes), frame \(frame.frame.bytes)")
      reached.formUnion(seen.outcomes)
    }
    #expect(reached.isSuperset(of: [.notService, .handoffMalformed, .handoffForged, .noListener]), "seed 31")
  }
}

extension Frame {
  /// Of a UDP datagram without IP options or extension headers.
  fileprivate var udpStart: Int { Frame.ipStart + (bytes[12] == 0x86 ? 40 : 20) }
}
