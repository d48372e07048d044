// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Handoff
import Testing
import Wire

@testable import ForwardingPlane

struct LayoutTests {
  /// Sizes that the header's comments promise; padding would be a hole that the kernel compares.
  @Test func sizesAreThoseOfTheFields() {
    #expect(MemoryLayout<handoff_flow_key>.size == 36)
    #expect(MemoryLayout<handoff_flow_entry>.size == 32)
    #expect(MemoryLayout<handoff_service_key>.size == 20)
    #expect(MemoryLayout<handoff_state>.size == 16)
    #expect(MemoryLayout<handoff_handshake>.size == 128)
    #expect(MemoryLayout<handoff_ring_record>.size == 32)
    #expect(MemoryLayout<lease_target_key>.size == 16 && MemoryLayout<lease_target>.size == 16)
    #expect(MemoryLayout<lease_node>.size == 72)
    #expect(MemoryLayout<lease_worker>.size == 32 + 16 * LeasePlane.maximumBackEnds)
    #expect(MemoryLayout<handoff_counters>.size == 8 * ForwardingOutcome.allCases.count)
  }

  @Test func outcomesAreTheSameOnBothSides() {
    let expected: [(ForwardingOutcome, handoff_outcome)] = [
      (.notService, HANDOFF_NOT_SERVICE), (.malformed, HANDOFF_MALFORMED), (.fragment, HANDOFF_FRAGMENT),
      (.extensionHeader, HANDOFF_EXTENSION_HEADER), (.synNew, HANDOFF_SYN_NEW),
      (.synDuplicate, HANDOFF_SYN_DUPLICATE), (.synReused, HANDOFF_SYN_REUSED), (.forwarded, HANDOFF_FORWARDED),
      (.deliveredLocally, HANDOFF_DELIVERED_LOCALLY), (.toUserSpace, HANDOFF_TO_USER_SPACE),
      (.rewriteFailed, HANDOFF_REWRITE_FAILED), (.synAnswered, HANDOFF_SYN_ANSWERED),
      (.synMalformed, HANDOFF_SYN_MALFORMED), (.synUnattended, HANDOFF_SYN_UNATTENDED),
      (.synDraining, HANDOFF_SYN_DRAINING), (.synChallenged, HANDOFF_SYN_CHALLENGED),
      (.challengeConfirmed, HANDOFF_CHALLENGE_CONFIRMED), (.ackAbsorbed, HANDOFF_ACK_ABSORBED),
      (.ringFull, HANDOFF_RING_FULL), (.unattended, HANDOFF_UNATTENDED), (.tunnelled, HANDOFF_TUNNELLED),
      (.tunnelUnknown, HANDOFF_TUNNEL_UNKNOWN), (.tunnelTooBig, HANDOFF_TUNNEL_TOO_BIG),
      (.hopsExceeded, HANDOFF_HOPS_EXCEEDED), (.errorForwarded, HANDOFF_ERROR_FORWARDED),
      (.handedOff, HANDOFF_HANDED_OFF),
    ]
    #expect(expected.map(\.0) == ForwardingOutcome.allCases)
    for (outcome, constant) in expected { #expect(outcome.rawValue == Int(constant.rawValue)) }
    #expect(Int(HANDOFF_OUTCOMES.rawValue) == ForwardingOutcome.allCases.count)
    #expect(Set(ForwardingOutcome.allCases.map(\.label)).count == ForwardingOutcome.allCases.count)
    #expect(FlowEntry.Seen.fin.rawValue == UInt8(HANDOFF_CLIENT_FIN.rawValue))
    #expect(FlowEntry.Seen.ended.rawValue == UInt8(HANDOFF_ENDED.rawValue))
    #expect(FlowEntry.Seen.rst.rawValue == UInt8(HANDOFF_CLIENT_RST.rawValue))
  }

  @Test func tunnelsOutcomesAreTheSameOnBothSides() {
    let expected: [(TunnelOutcome, tunnel_outcome)] = [
      (.other, TUNNEL_OTHER), (.malformed, TUNNEL_MALFORMED), (.fragment, TUNNEL_FRAGMENT),
      (.stranger, TUNNEL_STRANGER), (.notServed, TUNNEL_NOT_SERVED), (.decapsulated, TUNNEL_DECAPSULATED),
      (.rewriteFailed, TUNNEL_REWRITE_FAILED),
    ]
    #expect(expected.map(\.0) == TunnelOutcome.allCases)
    for (outcome, constant) in expected { #expect(outcome.rawValue == Int(constant.rawValue)) }
    #expect(Int(TUNNEL_OUTCOMES.rawValue) == TunnelOutcome.allCases.count)
    #expect(Set(TunnelOutcome.allCases.map(\.label)).count == TunnelOutcome.allCases.count)
    #expect(MemoryLayout<tunnel_node>.size == 40)
  }

  @Test func keysAreInNetworkOrder() {
    let key = handoff_flow_key(Addresses.flow4)
    let bytes = unsafe withUnsafeBytes(of: key) { unsafe Array($0) }
    let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]
    #expect(bytes == mapped + [192, 0, 2, 1] + mapped + [203, 0, 113, 80] + [0x9c, 0x41] + [0, 80])
  }

  @Test func keysAndEntriesComeBack() {
    var random = SeededRandom(seed: 11)
    for round in 0..<1000 {
      let flow = FlowTuple(
        client: Endpoint(
          IPAddress(high: random.next(), low: random.next()), UInt16.random(in: 0 ... .max, using: &random)),
        service: Endpoint(
          IPAddress(high: random.next(), low: random.next()), UInt16.random(in: 0 ... .max, using: &random)))
      #expect(handoff_flow_key(flow).flow == flow, "seed 11, round \(round)")
      #expect(handoff_service_key(flow.service).endpoint == flow.service, "seed 11, round \(round)")
      let entry = FlowEntry(
        action: [
          .forward(to: MACAddress(bits: random.next())), .deliverLocally,
          .tunnel(UInt16.random(in: 0 ... .max, using: &random)),
        ].randomElement(using: &random)!,
        clientISN: SequenceNumber(UInt32.random(in: 0 ... .max, using: &random)), handoff: HandoffID(random.next()),
        backEnd: UInt16.random(in: 0 ... .max, using: &random), now: random.next(),
        seen: FlowEntry.Seen(rawValue: UInt8.random(in: 0...3, using: &random)))
      #expect(handoff_flow_entry(entry).entry == entry, "seed 11, round \(round)")
    }
  }
}
