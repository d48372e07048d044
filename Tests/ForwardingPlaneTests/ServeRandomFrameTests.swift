// SPDX-License-Identifier: Apache-2.0

import Handoff
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// Frames of random bytes, and right frames with random damage, against what the serving program may do at all.
struct ServeRandomFrameTests {
  private static let rounds = 4000

  @Test(arguments: [1, 2, 3, 4] as [UInt64])
  func oneOutcomeAndNothingIsChanged(seed: UInt64) throws {
    let bench = try ServeBench()
    // Nobody listens: the agent's segment ends as `noListener` and stays, so that each round begins like the first.
    for flow in [Addresses.flow4, Addresses.flow6] {
      try bench.pending.insert(
        TCPSnapshot.sample(flow), sequence: SequenceNumber(5000), token: 9, loop: 0, .new)
    }
    let connection4 = try bench.connect(ServeRule.connected(Addresses.flow4))
    let connection6 = try bench.connect(ServeRule.connected(Addresses.flow6))
    var random = SeededRandom(seed: seed)
    let frames = (0..<Self.rounds).map { _ in Self.frame(&random) }
    let seen = try bench.run(frames)
    var reached: Set<ServeOutcome> = []
    for (round, (frame, (run, outcomes))) in zip(frames, seen).enumerated() {
      let context = "seed \(seed), round \(round): \(outcomes), \(run), frame \(frame.frame.bytes)"
      try expect(outcomes.count == 1, "more or less than one outcome: \(context)")
      try expect(run.frame == frame.frame && run.mark == 0, "changed: \(context)")
      let drops: Set<ServeOutcome> = [.noConnection, .noListener]
      try expect(run.verdict == (drops.contains(outcomes[0]) ? .drop : .pass), context)
      try expect(outcomes[0] != .noListener || frame.origin == .agent, "installed from outside: \(context)")
      if drops.contains(outcomes[0]) || outcomes[0] == .connection {
        try expect(Self.isForAService(frame.frame), "a foreign frame was judged: \(context)")
      }
      reached.formUnion(outcomes)
    }
    #expect(
      reached == [.notService, .malformed, .syn, .control, .connection, .noConnection, .noListener], "seed \(seed)")
    #expect(connection4.raw >= 0 && connection6.raw >= 0)
  }

  /// A third is noise; two thirds are a frame of a flow with up to four bytes changed, or cut.
  private static func frame(_ random: inout SeededRandom) -> (frame: Frame, origin: ServeBench.Origin) {
    let origin: ServeBench.Origin = Bool.random(using: &random) ? .agent : .wire
    let kind = Int.random(in: 0..<6, using: &random)
    var frame: Frame
    if kind < 2 {
      var bytes = (0..<Int.random(in: 60...200, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      bytes.replaceSubrange(0..<6, with: Addresses.ownMAC.bytes)
      if kind == 1 { bytes.replaceSubrange(12..<14, with: Bool.random(using: &random) ? [8, 0] : [0x86, 0xdd]) }
      frame = Frame(bytes: bytes)
    } else {
      var flow = Bool.random(using: &random) ? Addresses.flow4 : Addresses.flow6
      if Bool.random(using: &random) { flow = ServeRule.connected(flow) }
      let flags = TCPFlags(rawValue: UInt8.random(in: 0...255, using: &random))
      let payload = [UInt8](repeating: 7, count: Int.random(in: 0...40, using: &random))
      frame = Frame.tcp(flow, kind == 2 ? .ack : flags, payload: payload)
      if kind > 2 {
        for _ in 0..<Int.random(in: 0...4, using: &random) {
          frame.bytes[Int.random(in: 12..<min(80, frame.bytes.count), using: &random)] = UInt8.random(
            in: 0...255, using: &random)
        }
      }
      if kind == 5 { frame = frame.truncated(to: Int.random(in: 54...frame.bytes.count, using: &random)) }
    }
    return (origin == .agent ? frame.onLoopback : frame, origin)
  }

  /// Whether the served address and port lie where the frame's headers would have them.
  private static func isForAService(_ frame: Frame) -> Bool {
    let right4 = Frame.tcp(Addresses.flow4, .ack).bytes
    let right6 = Frame.tcp(Addresses.flow6, .ack).bytes
    let bytes = frame.bytes
    if bytes[12] == 8, bytes[13] == 0 {
      let ports = 14 + Int(bytes[14] & 15) * 4
      return bytes.count >= ports + 4 && bytes[30..<34] == right4[30..<34]
        && Array(bytes[ports + 2..<ports + 4]) == Array(right4[36..<38])
    }
    return bytes.count >= 58 && bytes[12..<14] == right6[12..<14] && bytes[38..<54] == right6[38..<54]
      && bytes[56..<58] == right6[56..<58]
  }
}
