// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import ForwardingPlane
import Lab
import LinuxKernel
import Testing
import Wire

struct RingTests {
  private struct Received: ~Copyable { var packets: [[UInt8]] = [] }

  private static func drain(_ ring: inout PacketRing) -> [[UInt8]] {
    var received = Received()
    while ring.receive(
      into: &received, limit: 16,
      { received, packet, handoff in
        #expect(handoff == nil)
        received.packets.append(packet.indices.map { packet[$0] })
      }) > 0
    {}
    return received.packets
  }

  @Test(arguments: [1, 431, 432, 433, 1_460, 1_967, 1_968, 1_969, 8_900])
  func packetsArriveWhole(size: Int) throws {
    let interface = try TestInterface()
    let plane = try interface.attach()
    try plane.setServices([Addresses.service4, Addresses.service6])
    var ring = try plane.handshake.openRing(worker: 0, size: 1 << 20)
    Handshake(usesRings: true).start(plane.handshake)
    let index = interface.index
    // Test-run input is at most a page; larger frames come over the wire.
    let link = try interface.namespace.perform { try RawLink("d1") }
    for flow in [Addresses.flow4, Addresses.flow6] {
      let frame = Frame.raw(
        flow, [.ack, .psh], sequence: 1, acknowledgment: 2, payload: (0..<size).map { UInt8(truncatingIfNeeded: $0) })
      if frame.bytes.count < 2_000 {
        let seen = try interface.namespace.perform { try plane.run(frame.padded(by: 3), interface: index) }
        #expect(seen.outcomes == [.toUserSpace] && seen.verdict == .drop)
      } else {
        try link.send(frame)
        let deadline = MonotonicTime.now() + 5_000_000_000
        while plane.counters()[.toUserSpace] == 0, MonotonicTime.now() < deadline {}
      }
      let packets = Self.drain(&ring)
      #expect(packets == [frame.packet])
    }
  }

  /// All packets of a flow come to one worker, and flows are spread.
  @Test func flowsKeepTheirWorker() throws {
    let interface = try TestInterface()
    let plane = try interface.attach()
    try plane.setServices([Addresses.service4])
    var one = try plane.handshake.openRing(worker: 0, size: 1 << 20)
    var two = try plane.handshake.openRing(worker: 1, size: 1 << 20)
    Handshake(workers: 2, usesRings: true).start(plane.handshake)
    let index = interface.index
    var shares = [0, 0]
    for port in 1...200 as ClosedRange<UInt16> {
      let flow = FlowTuple(client: Endpoint(Addresses.client4.address, 1000 + port), service: Addresses.service4)
      try interface.namespace.perform {
        for round in 0..<3 as Range<UInt32> {
          _ = try plane.run(Frame.raw(flow, .ack, sequence: round, payload: [1]), interface: index)
        }
      }
      let counts = [Self.drain(&one).count, Self.drain(&two).count]
      #expect(counts == [3, 0] || counts == [0, 3], "port \(port)")
      shares[counts[0] == 3 ? 0 : 1] += 1
    }
    #expect(shares.allSatisfy { $0 > 60 }, "\(shares)")
  }

  @Test func aFullRingDropsAndGoesOn() throws {
    let interface = try TestInterface()
    let plane = try interface.attach()
    try plane.setServices([Addresses.service4])
    var ring = try plane.handshake.openRing(worker: 0, size: 4096)
    Handshake(usesRings: true).start(plane.handshake)
    let index = interface.index
    let frame = Frame.raw(Addresses.flow4, .ack, sequence: 1, payload: [1, 2, 3])
    let outcomes = try interface.namespace.perform {
      try (0..<20).map { _ in try plane.run(frame, interface: index).outcomes[0] }
    }
    let taken = outcomes.filter { $0 == .toUserSpace }.count
    #expect(taken > 0 && outcomes.filter { $0 == .ringFull }.count == 20 - taken)
    #expect(Self.drain(&ring).count == taken)
    let again = try interface.namespace.perform { try plane.run(frame, interface: index) }
    #expect(again.outcomes == [.toUserSpace])
    // Longer than any record of the ring: counted, not stuck.
    let long = Frame.raw(Addresses.flow4, .ack, sequence: 1, payload: [UInt8](repeating: 1, count: 1_900))
    let refused = try interface.namespace.perform {
      try (0..<3).map { _ in try plane.run(long, interface: index).outcomes[0] }
    }
    #expect(refused.contains(.ringFull))
  }

  @Test func nothingPassesToTheNodesOwnTCP() throws {
    let interface = try TestInterface()
    let plane = try interface.attach()
    try plane.setServices([Addresses.service4, Addresses.service6])
    let index = interface.index
    var ring = try plane.handshake.openRing(worker: 0, size: 1 << 20)
    Handshake(usesRings: true).start(plane.handshake)
    let table = plane.handshake
    try interface.namespace.perform {
      let data = Frame.raw(Addresses.flow4, .ack, sequence: 1, payload: [1])
      let reset = try plane.run(Frame.raw(Addresses.flow6, .rst, sequence: 1), interface: index)
      try expect(reset.outcomes == [.toUserSpace] && reset.verdict == .drop, "\(reset)")
      let fragment = try plane.run(data.with(0x20, 0, at: Frame.ipStart + 6), interface: index)
      try expect(fragment.outcomes == [.fragment] && fragment.verdict == .drop, "\(fragment)")
      table.keepAlive(worker: 0, until: MonotonicTime.now() - 20_000_000)
      let dead = try plane.run(data, interface: index)
      try expect(dead.outcomes == [.unattended] && dead.verdict == .drop, "\(dead)")
    }
    #expect(Self.drain(&ring).count == 1)
  }

  /// A successor goes on with the secrets, and puts a ring of its own in the place of the dead one.
  @Test func ringsAndSecretsOutliveTheirProcess() throws {
    let interface = try TestInterface()
    let handshake = Handshake(seed: 77, usesRings: true)
    var cookie: UInt32 = 0
    let index = interface.index
    do {
      let plane = try interface.attach()
      try plane.setServices([Addresses.service4])
      _ = try plane.handshake.openRing(worker: 0, size: 4096)
      handshake.start(plane.handshake)
      let answer = try interface.namespace.perform {
        try plane.run(Frame.raw(Addresses.flow4, .syn, sequence: 7000), interface: index).frame
      }
      cookie = try TCPSegment.parse(answer.packet.span).segment.sequence.rawValue
    }
    let successor = try interface.attach()
    #expect(successor.handshake.secrets.spread == handshake.keys.spread)
    #expect(successor.handshake.secrets.even.tag == handshake.keys.even.tag)
    var ring = try successor.handshake.openRing(worker: 0, size: 1 << 20)
    let ack = Frame.raw(Addresses.flow4, .ack, sequence: 7001, acknowledgment: cookie &+ 1)
    let request = Frame.raw(Addresses.flow4, .ack, sequence: 7001, acknowledgment: cookie &+ 1, payload: [71])
    try interface.namespace.perform {
      try expect(try successor.run(ack, interface: index).outcomes == [.ackAbsorbed])
      try expect(try successor.run(request, interface: index).outcomes == [.toUserSpace])
    }
    #expect(Self.drain(&ring) == [request.packet])
  }
}
