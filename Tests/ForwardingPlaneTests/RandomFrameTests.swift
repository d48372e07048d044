// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// Frames of random bytes, and right frames with random damage, against what the program may do to a frame at all.
struct RandomFrameTests {
  private static let rounds = 4000

  @Test(arguments: [1, 2, 3, 4] as [UInt64])
  func onlyTheFlowsOwnFramesAreChanged(seed: UInt64) throws {
    let interface = try TestInterface()
    let plane = try interface.attach()
    try plane.setServices([Addresses.service4, Addresses.service6])
    let index = interface.index
    let table = plane.flows
    let reached = try interface.namespace.perform {
      var random = SeededRandom(seed: seed)
      var reached: Set<ForwardingOutcome> = []
      for round in 0..<Self.rounds {
        try table.insert(Addresses.flow4, .forwarding())
        try table.insert(Addresses.flow6, .forwarding())
        let frame = Self.frame(&random)
        let seen = try plane.run(frame, interface: index)
        try Self.check(frame, seen, "seed \(seed), round \(round): \(seen), frame \(frame.bytes)")
        reached.formUnion(seen.outcomes)
      }
      return reached
    }
    #expect(reached.isSuperset(of: [.notService, .malformed, .forwarded, .synReused, .toUserSpace, .synNew]))
  }

  /// A third is noise; two thirds are a frame of a flow with up to four bytes changed, or cut.
  static func frame(_ random: inout SeededRandom) -> Frame {
    let kind = Int.random(in: 0..<6, using: &random)
    if kind < 2 {
      var bytes = (0..<Int.random(in: 60...200, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      bytes.replaceSubrange(0..<6, with: Addresses.ownMAC.bytes)
      if kind == 1 { bytes.replaceSubrange(12..<14, with: Bool.random(using: &random) ? [8, 0] : [0x86, 0xdd]) }
      return Frame(bytes: bytes)
    }
    let flow = Bool.random(using: &random) ? Addresses.flow4 : Addresses.flow6
    let flags = TCPFlags(rawValue: UInt8.random(in: 0...255, using: &random))
    let payload = [UInt8](repeating: 7, count: Int.random(in: 0...40, using: &random))
    var frame = Frame.tcp(flow, flags, payload: payload)
    for _ in 0..<Int.random(in: 0...4, using: &random) {
      frame.bytes[Int.random(in: 12..<min(80, frame.bytes.count), using: &random)] = UInt8.random(
        in: 0...255, using: &random)
    }
    if kind == 5 { frame = frame.truncated(to: Int.random(in: 54...frame.bytes.count, using: &random)) }
    return frame
  }

  private static func check(_ frame: Frame, _ seen: Observation, _ context: String) throws {
    try expect(seen.outcomes.count == 1, "more or less than one outcome: \(context)")
    switch seen.outcomes[0] {
    case .forwarded:
      try expect(seen.verdict == .redirect && seen.frame == frame.forwarded(to: Addresses.backEndMAC), context)
      try expect(namesAFlow(frame), "a foreign frame was forwarded: \(context)")
    case .synDuplicate:
      try expect(seen.verdict == .drop && seen.frame == frame && namesAFlow(frame), context)
    case .synReused:
      try expect(seen.verdict == .pass && seen.frame == frame && namesAFlow(frame), context)
    case .deliveredLocally, .rewriteFailed: try expect(false, context)
    default: try expect(seen.verdict == .pass && seen.frame == frame && seen.mark == 0, context)
    }
  }

  /// Whether the addresses and ports of one of the flows lie where its headers would have them.
  private static func namesAFlow(_ frame: Frame) -> Bool {
    let right4 = Frame.tcp(Addresses.flow4, .ack).bytes
    let right6 = Frame.tcp(Addresses.flow6, .ack).bytes
    let bytes = frame.bytes
    if bytes[12] == 8, bytes[13] == 0 {
      let ports = 14 + Int(bytes[14] & 15) * 4
      return bytes.count >= ports + 4 && bytes[26..<34] == right4[26..<34]
        && Array(bytes[ports..<ports + 4]) == Array(right4[34..<38])
    }
    return bytes.count >= 58 && bytes[12..<14] == right6[12..<14] && bytes[22..<58] == right6[22..<58]
  }
}
