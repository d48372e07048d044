// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// The program at the driver, by the rules of the one at tc: it does the same with a frame, or leaves the frame alone.
struct DriverProgramTests {
  private func withPlane(_ body: @Sendable @escaping (borrowing ForwardingPlane, UInt32) throws -> Void) throws {
    let interface = try TestInterface()
    try interface.takeRedirected()
    let plane = try interface.attach(hook: .xdp)
    try plane.setServices([Addresses.service4, Addresses.service6])
    let index = interface.index
    try interface.namespace.perform { try body(plane, index) }
  }

  @Test func rules() throws {
    try withPlane { plane, _ in
      for rule in ProgramCase.all {
        for flow in [Addresses.flow4, Addresses.flow6] {
          if let left = plane.flows.lookup(flow) { _ = plane.flows.remove(flow, ifHandoff: left.handoff) }
          if let entry = rule.entry { try plane.flows.insert(flow, entry) }
        }
        try DriverProgramTests.check(rule, plane)
      }
    }
  }

  private static func check(_ rule: ProgramCase, _ plane: borrowing ForwardingPlane) throws {
    let isIPv6 = rule.frame.bytes[12] == 0x86
    let flow = isIPv6 ? Addresses.flow6 : Addresses.flow4
    let started = CoarseClock.now()
    let seen = try plane.runAtDriver(rule.frame)
    let what = "\(rule.name): \(seen)"
    // Segments that the kernel has joined do not come by here.
    guard rule.outcome == .forwarded, rule.segmentSize == 0, case .touched(let flags) = rule.after else {
      try expect(seen.verdict == .pass && seen.frame == rule.frame, what)
      try expect(seen.outcomes == [.passed] && seen.forwardingOutcomes == [], what)
      try expect(plane.flows.lookup(flow) == rule.entry, what)
      return
    }
    try expect(seen.verdict == .redirect && seen.frame == rule.frame.forwarded(to: Addresses.backEndMAC), what)
    try expect(seen.outcomes == [.forwarded] && seen.forwardingOutcomes == [.forwarded], what)
    guard var entry = plane.flows.lookup(flow), var expected = rule.entry else {
      throw Unexpected(description: "\(rule.name): the entry is gone")
    }
    try expect(entry.lastSeen >= started && entry.lastSeen <= MonotonicTime.now(), what)
    expected.seen = flags
    entry.lastSeen = expected.lastSeen
    try expect(entry == expected, "\(rule.name): \(entry)")
  }

  /// What cannot be forwarded without the kernel's knowledge of the packet.
  @Test(arguments: [Addresses.flow4, Addresses.flow6])
  func whatOnlyTheKernelKnowsIsPassed(flow: FlowTuple) throws {
    try withPlane { plane, _ in
      try plane.flows.insert(flow, .forwarding())
      for size in [0, 1, 2, 535, 1440] {
        let frame = Frame.tcp(flow, [.ack, .psh], payload: [UInt8](repeating: 0x5a, count: size))
        let open = try plane.runAtDriver(frame.checksummed(flow, .open))
        try expect(open.verdict == .pass && open.outcomes == [.checksumOpen], "\(size) bytes: \(open)")
        try expect(
          open.frame == frame.checksummed(flow, .open) && open.forwardingOutcomes == [], "\(size) bytes: \(open)")
        let closed = try plane.runAtDriver(frame)
        try expect(closed.outcomes == [.forwarded], "\(size) bytes: \(closed)")
      }
      // In two pieces, as the kernel's test run makes it of more than a page.
      let pieces = Frame.tcp(flow, .ack, payload: [UInt8](repeating: 1, count: 5000))
      let seen = try plane.runAtDriver(pieces)
      try expect(seen.verdict == .pass && seen.outcomes == [.joined] && seen.frame == pieces, "\(seen.outcomes)")
      try expect(plane.flows.lookup(flow)?.lastSeen != nil)
    }
  }

  @Test func framesThatTheNetworkDoesNotCarryArePassed() throws {
    try withPlane { plane, _ in
      try plane.flows.insert(Addresses.flow4, .forwarding())
      try plane.driver.plane?.write(Self.settings(longest: 1514, DRIVER_REDIRECTS))
      for (payload, outcome) in [(1460, DriverOutcome.forwarded), (1461, .joined)] {
        let frame = Frame.tcp(Addresses.flow4, .ack, payload: [UInt8](repeating: 1, count: payload))
        try expect(try plane.runAtDriver(frame).outcomes == [outcome], "\(payload) bytes")
      }
    }
  }

  @Test(arguments: [
    (DRIVER_PASSES_ALL, DriverObservation.Verdict.pass, DriverOutcome.passed),
    (DRIVER_TRANSMITS, .transmit, .forwarded),
    (DRIVER_REDIRECTS, .redirect, .forwarded),
  ])
  func ways(_ way: driver_way, verdict: DriverObservation.Verdict, outcome: DriverOutcome) throws {
    try withPlane { plane, _ in
      try plane.flows.insert(Addresses.flow6, .forwarding())
      try plane.driver.plane?.write(Self.settings(longest: 1514, way))
      let seen = try plane.runAtDriver(Frame.tcp(Addresses.flow6, .ack))
      try expect(seen.verdict == verdict && seen.outcomes == [outcome], "\(seen)")
    }
  }

  /// What may end a flow is decided at tc.
  @Test(arguments: [Addresses.flow4, Addresses.flow6])
  func whatEndsAFlowIsPassed(flow: FlowTuple) throws {
    try withPlane { plane, index in
      Handshake().start(plane.handshake)
      try plane.flows.insert(flow, .forwarding())
      let syn = Frame.raw(flow, .syn, sequence: 7000, options: HandshakeCase.mss)
      let challenge = try TCPSegment.parse(try plane.run(syn, interface: index).frame.packet.span).segment
      let confirmation = challenge.acknowledgment.rawValue
      let wrong = try plane.runAtDriver(Frame.raw(flow, .rst, sequence: confirmation &+ 1))
      try expect(wrong.outcomes == [.forwarded], "\(wrong)")
      let right = try plane.runAtDriver(Frame.raw(flow, .rst, sequence: confirmation))
      try expect(right.verdict == .pass && right.outcomes == [.passed], "\(right)")
      try expect(plane.flows.lookup(flow) != nil)

      // The reset above has closed the flow for its client, who begins anew.
      let answer = try TCPSegment.parse(try plane.run(syn, interface: index).frame.packet.span).segment
      let number = answer.sequence.rawValue &+ 1
      for payload in [[], [1]] as [[UInt8]] {
        let frames = [number &+ 1, number].map {
          Frame.raw(flow, .ack, sequence: 7001, acknowledgment: $0, payload: payload)
        }
        try expect(try plane.runAtDriver(frames[0]).outcomes == [.forwarded], "another number")
        let anew = try plane.runAtDriver(frames[1])
        try expect(anew.verdict == .pass && anew.outcomes == [.passed], "\(anew)")
      }
    }
  }

  /// Random frames: whatever is forwarded at the driver would be forwarded at tc, as the same frame.
  @Test(arguments: [1, 2, 3, 4] as [UInt64])
  func nothingIsDoneOtherwiseThanAtTC(seed: UInt64) throws {
    try withPlane { plane, index in
      var random = SeededRandom(seed: seed)
      var reached: [DriverOutcome: Int] = [:]
      let table = plane.flows
      func enter() throws {
        for flow in [Addresses.flow4, Addresses.flow6] { try table.insert(flow, .forwarding()) }
      }
      func seen() -> [FlowEntry.Seen?] { [Addresses.flow4, Addresses.flow6].map { table.lookup($0)?.seen } }
      for round in 0..<4000 {
        let frame = RandomFrameTests.frame(&random)
        try enter()
        let first = try plane.runAtDriver(frame)
        let context = "seed \(seed), round \(round): \(first), frame \(frame.bytes)"
        try expect(first.outcomes.count == 1, context)
        reached[first.outcomes[0], default: 0] += 1
        if first.verdict == .pass {
          try expect(first.frame == frame && first.forwardingOutcomes == [] && seen() == [[], []], context)
          continue
        }
        try expect(first.verdict == .redirect && first.forwardingOutcomes == [.forwarded], context)
        let seenFirst = seen()
        try enter()
        let second = try plane.run(frame, interface: index)
        try expect(second.verdict == .redirect && second.frame == first.frame, "\(context), at tc \(second)")
        try expect(second.outcomes == [.forwarded] && seen() == seenFirst, "\(context), at tc \(second)")
      }
      try expect(reached[.forwarded, default: 0] > 400 && reached[.passed, default: 0] > 400, "\(reached)")
    }
  }

  /// The program's time per frame, printed as a line that begins with MEASURED, beside that of the program at tc.
  @Test(arguments: [
    ("of another service", Frame.tcp(Addresses.flow4, .ack).with(0, 81, at: 36), DriverOutcome.passed),
    ("without entry", Frame.tcp(Addresses.client4Other, .ack), .passed),
    ("forwarded, IPv4", Frame.tcp(Addresses.flow4, .ack), .forwarded),
    ("forwarded, IPv6", Frame.tcp(Addresses.flow6, .ack), .forwarded),
  ])
  func whatAFrameCosts(name: String, frame: Frame, outcome: DriverOutcome) throws {
    try withPlane { plane, index in
      // To this node itself: the frame is not put back between the runs.
      try plane.flows.insert(Addresses.flow4, .forwarding(to: Addresses.ownMAC))
      try plane.flows.insert(Addresses.flow6, .forwarding(to: Addresses.ownMAC))
      var best = (driver: Int.max, tc: Int.max)
      for _ in 0..<5 {
        let seen = try plane.runAtDriver(frame, times: 20_000)
        try expect(seen.outcomes == Array(repeating: outcome, count: 20_000), "not \(outcome)")
        best.driver = min(best.driver, seen.nanoseconds)
        best.tc = min(best.tc, try plane.run(frame, interface: index, times: 20_000).nanoseconds)
      }
      print("MEASURED a frame \(name): \(best.driver) ns at the driver, \(best.tc) ns at tc")
      try expect(best.driver < 20_000)
    }
  }

  @Test func everyOutcomeOfTheDriverIsTheSameOnBothSides() {
    let expected: [(DriverOutcome, driver_outcome)] = [
      (.passed, DRIVER_PASSED), (.checksumOpen, DRIVER_CHECKSUM_OPEN), (.joined, DRIVER_JOINED),
      (.noWay, DRIVER_NO_WAY), (.forwarded, DRIVER_FORWARDED), (.tunnelled, DRIVER_TUNNELLED),
      (.failed, DRIVER_FAILED),
    ]
    #expect(expected.map(\.0) == DriverOutcome.allCases)
    for (outcome, constant) in expected { #expect(outcome.rawValue == Int(constant.rawValue)) }
    #expect(Int(DRIVER_OUTCOMES.rawValue) == DriverOutcome.allCases.count)
    #expect(Set(DriverOutcome.allCases.map(\.label)).count == DriverOutcome.allCases.count)
    #expect(MemoryLayout<driver_settings>.size == 12)
  }

  private static func settings(longest: UInt16, _ way: driver_way) -> driver_settings {
    let mac = Addresses.ownMAC
    return driver_settings(
      mac: (mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]), longest: longest, way: way.rawValue)
  }
}
