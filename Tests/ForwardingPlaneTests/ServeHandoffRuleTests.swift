// SPDX-License-Identifier: Apache-2.0

import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// Handoffs by packet, as the serving program takes, declines and drops them. Of those that it takes in a test run the kernel
/// refuses the assignment, because that is for packets of a device alone: `ServeHandoffConnectionTests` has those.
struct ServeHandoffRuleTests {
  private typealias Bench = ServeHandoffBench

  /// A frame and what must come of it while a server listens. Nothing is changed but what is taken.
  private struct Rule {
    var name: String
    var frame: Frame
    var outcome: ServeOutcome
    var passes = false
  }

  private static func expect(_ rules: [Rule], _ bench: ServeHandoffBench, _ way: HandoffFrame) throws {
    let results = try bench.run(rules.map(\.frame))
    for (rule, (run, outcomes)) in zip(rules, results) {
      let taken = rule.outcome == .refused
      #expect(outcomes == [rule.outcome], "\(rule.name)")
      #expect(run.verdict == (rule.passes ? .pass : .drop), "\(rule.name)")
      #expect(run.frame == (taken ? way.takenOut(rule.frame) : rule.frame), "\(rule.name)")
      if taken { #expect(bench.ring.next() == declined(.refused(0)), "\(rule.name)") }
    }
    #expect(bench.ring.next() == nil)
    #expect(bench.plane.pending.result(of: way.flow) == nil, "an entry is left")
    #expect(bench.plane.pending.claim(origin: Bench.origin, handoff: Bench.id), "what is not taken may come again")
  }

  private static func declined(_ result: PendingResult) -> ConnectionEvent {
    ConnectionEvent(token: Bench.id.rawValue, origin: Bench.origin, kind: .declined(result))
  }

  // MARK: Right ones

  /// What is found at the endpoints of the request.
  enum World: CaseIterable { case server, nobody, connection, strangerAtService }

  @Test(arguments: HandoffFrame.all, World.allCases)
  func aRightOneIsTakenOutAndGivenToWhoListens(_ way: HandoffFrame, _ world: World) throws {
    let bench = try ServeHandoffBench()
    let server = world == .server || world == .connection ? try bench.listen() : []
    let connection = world == .connection ? try bench.connect(way.flow) : nil
    let stranger =
      world == .strangerAtService
      ? try bench.interface.namespace.perform { try Bench.Listener(way.flow.service) } : nil
    let expected: (ServeOutcome, PendingResult) =
      switch world {
      case .server: (.refused, .refused(0))
      case .nobody, .strangerAtService: (.noListener, .noListener)
      case .connection: (.tupleBusy, .tupleBusy)
      }
    // Again each time: it was not taken.
    for _ in 0..<2 {
      let (run, outcomes) = try bench.run(way.good)
      #expect(outcomes == [expected.0] && run.verdict == .drop)
      #expect(run.frame == way.takenOut(way.good), "the outer headers are gone")
      #expect(bench.ring.next() == Self.declined(expected.1))
      #expect(bench.ring.next() == nil)
      #expect(bench.plane.pending.result(of: way.flow) == nil)
    }
    #expect(bench.plane.pending.claim(origin: Bench.origin, handoff: Bench.id))
    withExtendedLifetime((server, stranger)) {}
    _ = consume connection
  }

  @Test(arguments: HandoffFrame.all) func requestsOfEveryLengthAreTakenOut(_ way: HandoffFrame) throws {
    let bench = try ServeHandoffBench()
    let server = try bench.listen()
    for options in [true, false] {
      for size in [1, 2, 100, 1288] {
        let payload = way.payload(request: (0..<size).map { UInt8(truncatingIfNeeded: $0) }) {
          if !options { ($0.timestamps, $0.windowScale, $0.sackPermitted) = (nil, nil, false) }
        }
        let frame = way.frame(payload)
        let (run, outcomes) = try bench.run(frame)
        #expect(outcomes == [.refused] && run.frame == way.takenOut(frame), "\(size) bytes")
      }
    }
    withExtendedLifetime(server) {}
  }

  // MARK: Wrong ones

  @Test(arguments: HandoffFrame.all) func malformedOnesAreDropped(_ way: HandoffFrame) throws {
    let bench = try ServeHandoffBench()
    let server = try bench.listen()
    let good = way.good
    func rule(_ name: String, _ frame: Frame, _ outcome: ServeOutcome = .handoffMalformed) -> Rule {
      Rule(name: name, frame: frame, outcome: outcome)
    }
    let flags = way.tcp + 13
    let lengthField = way.inner + (way.isIPv4 ? 2 : 4)
    let headers = way.isIPv4 ? 52 : 32
    let bytes = Bench.request.count
    var rules = [
      rule("version 0", good.with(0, at: way.header)), rule("version 2", good.with(2, at: way.header)),
      rule("version 255", good.with(255, at: way.header)),
      rule("version 5 inside", good.with(0x55, at: way.inner)),
      rule("nothing inside", way.frame(way.payload().prefix(40).map { $0 })),
      rule("IP options inside", good.with(way.isIPv4 ? 0x46 : 0x45, at: way.inner)),
      rule("UDP inside", good.with(17, at: way.inner + (way.isIPv4 ? 9 : 6))),
      rule("ICMP inside", good.with(1, at: way.inner + (way.isIPv4 ? 9 : 6))),
      rule("data offset 0", good.with(0, at: way.tcp + 12)),
      rule("data offset 4 words", good.with(0x40, at: way.tcp + 12)),
      rule("data offset past the end", good.with(0xf0, at: way.tcp + 12)),
      rule("SYN", good.with(0x1a, at: flags)), rule("FIN", good.with(0x19, at: flags)),
      rule("RST", good.with(0x1c, at: flags)), rule("no ACK", good.with(0x08, at: flags)),
      rule("length 0", good.with(0, 0, at: lengthField)),
      rule("length without payload", good.with(0, UInt8(headers), at: lengthField)),
      rule("length past the end", good.with(0, UInt8(headers + bytes + 1), at: lengthField)),
      rule("length far past the end", good.with(0xff, 0xff, at: lengthField)),
    ]
    rules += (way.header..<good.bytes.count).map { rule("cut to \($0) bytes", good.truncated(to: $0)) }
    try Self.expect(rules, bench, way)
    withExtendedLifetime(server) {}
  }

  /// Every byte that decides what the connection becomes is under the tag; the rest is under TCP's own checksum, or nobody's.
  @Test(arguments: HandoffFrame.all) func everyChangedByteIsForgedOrHarmless(_ way: HandoffFrame) throws {
    let bench = try ServeHandoffBench()
    let server = try bench.listen()
    let good = way.good
    let addresses = way.isIPv4 ? way.inner + 12..<way.inner + 20 : way.inner + 8..<way.inner + 40
    var rules: [Rule] = []
    for offset in way.header + 1..<good.bytes.count {
      let frame = good.with(good.bytes[offset] ^ 0x20, at: offset)
      let covered =
        offset < way.inner || addresses.contains(offset) || (way.tcp..<way.tcp + 12).contains(offset)
      let ruling: Set<Int> = [
        way.inner, way.inner + 2, way.inner + 3, way.inner + 4, way.inner + 5, way.inner + 6, way.inner + 9,
        way.tcp + 12,
      ]
      // Versions, lengths and protocols: what malformedOnesAreDropped has.
      if !covered, ruling.contains(offset) { continue }
      rules.append(
        Rule(name: "byte \(offset - way.header)", frame: frame, outcome: covered ? .handoffForged : .refused))
    }
    #expect(rules.count(where: { $0.outcome == .handoffForged }) == 39 + addresses.count + 12)
    let strangers = [HandoffPacketKey(0, 0), HandoffPacketKey(Bench.key.first, Bench.key.second ^ 1 << 63)]
    rules += strangers.map {
      Rule(name: "another key", frame: way.frame(way.payload(key: $0)), outcome: .handoffForged)
    }
    try Self.expect(rules, bench, way)
    withExtendedLifetime(server) {}
  }

  @Test(arguments: HandoffFrame.all) func aCopyIsDropped(_ way: HandoffFrame) throws {
    let bench = try ServeHandoffBench()
    let server = try bench.listen()
    #expect(bench.plane.pending.claim(origin: Bench.origin, handoff: Bench.id))
    for _ in 0..<2 {
      let (run, outcomes) = try bench.run(way.good)
      #expect(outcomes == [.handoffRepeated] && run.verdict == .drop && run.frame == way.good)
    }
    #expect(bench.plane.pending.result(of: way.flow) == nil)
    #expect(bench.ring.next() == nil)
    // Another one of the same client and time is none.
    let next = way.frame(way.payload(id: HandoffID(slot: 7, generation: 3)))
    #expect(try bench.run(next).outcomes == [.refused])
    withExtendedLifetime(server) {}
  }

  @Test(arguments: HandoffFrame.all) func withoutAnAgentNothingIsTaken(_ way: HandoffFrame) throws {
    let bench = try ServeHandoffBench()
    let server = try bench.listen()
    let others = [1, 2, 63, 64, 255].map { loop in
      Rule(name: "loop \(loop)", frame: way.frame(way.payload(loop: loop)), outcome: .handoffUnattended)
    }
    let elsewhere = way.frame(way.payload { $0.flow.service.port = 81 })
    try Self.expect(
      others + [Rule(name: "another service", frame: elsewhere, outcome: .handoffUnattended)], bench, way)
    let good = way.frame(way.payload(id: HandoffID(slot: 8, generation: 1)))
    #expect(try bench.run(good).outcomes == [.refused])
    bench.ring.promiseToLive(until: MonotonicTime.now())
    #expect(try bench.run(good).outcomes == [.handoffUnattended])
    bench.ring.promiseToLive(until: MonotonicTime.now() + 60_000_000_000)
    #expect(try bench.run(good).outcomes == [.refused])
    try bench.plane.setServices([way.isIPv4 ? Addresses.service6 : Addresses.service4])
    #expect(try bench.run(good).outcomes == [.handoffUnattended])
    withExtendedLifetime(server) {}
  }

  // MARK: Not handoffs

  @Test(arguments: HandoffFrame.all) func whatIsNoHandoffPasses(_ way: HandoffFrame) throws {
    let bench = try ServeHandoffBench()
    let server = try bench.listen()
    let (good, ip) = (way.good, Frame.ipStart)
    func rule(_ name: String, _ frame: Frame) -> Rule {
      Rule(name: name, frame: frame, outcome: .notService, passes: true)
    }
    var rules = [
      rule("another port", way.frame(way.payload(), port: Bench.port + 1)),
      rule("the port as source", way.frame(way.payload(), port: 50_000).with(0x1e, 0x79, at: way.header - 8)),
      rule("frame for another node", good.with(2, 0, 0, 0, 0, 9, at: 0)), rule("VLAN tag", good.tagged()),
      rule("UDP header cut", good.truncated(to: way.header - 1)), rule("ARP", good.with(0x08, 0x06, at: 12)),
    ]
    if way.overIPv4 {
      rules += [
        rule("first fragment", good.with(0x20, 0, at: ip + 6)), rule("later fragment", good.with(0, 1, at: ip + 6)),
        rule("IP options", good.withIPv4Options(4)), rule("UDP-Lite", good.with(136, at: ip + 9)),
      ]
    } else {
      var hopByHop = good.withExtensionHeader(0)
      hopByHop.bytes[ip + 40] = 17
      rules += [rule("extension header", hopByHop), rule("UDP-Lite", good.with(136, at: ip + 6))]
    }
    try Self.expect(rules, bench, way)
    withExtendedLifetime(server) {}
  }

  @Test(arguments: HandoffFrame.all) func withoutAPortNothingIsTaken(_ way: HandoffFrame) throws {
    let bench = try ServeHandoffBench(packetPort: 0)
    let server = try bench.listen()
    for frame in [way.good, way.frame(way.payload(), port: 0)] {
      let (run, outcomes) = try bench.run(frame)
      #expect(outcomes == [.notService] && run.verdict == .pass && run.frame == frame)
    }
    withExtendedLifetime(server) {}
  }

  // MARK: Noise

  @Test(arguments: HandoffFrame.all) func damageEndsInOneOutcomeAndLeavesNothing(_ way: HandoffFrame) throws {
    let bench = try ServeHandoffBench()
    let server = try bench.listen()
    let seed: UInt64 = way.isIPv4 ? 31 : 32
    var random = SeededRandom(seed: seed)
    let frames = (0..<2000).map { _ -> Frame in
      var frame = way.good
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        frame.bytes[Int.random(in: 12..<frame.bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      return Bool.random(using: &random)
        ? frame : frame.truncated(to: Int.random(in: 54...frame.bytes.count, using: &random))
    }
    var declines = 0
    for (frame, (run, outcomes)) in zip(frames, try bench.run(frames)) {
      let context = "seed \(seed): \(frame.bytes)"
      #expect(outcomes.count == 1, "\(context)")
      switch outcomes.first {
      case .refused, .noListener:
        declines += 1
        #expect(run.verdict == .drop && run.frame == way.takenOut(frame), "\(context)")
      case .handoffMalformed, .handoffForged: #expect(run.verdict == .drop && run.frame == frame, "\(context)")
      default: #expect(run.verdict == .pass && run.frame == frame, "\(context)")
      }
    }
    var events = 0
    while let event = bench.ring.next() {
      events += 1
      guard case .declined = event.kind, event.origin == Bench.origin else {
        Issue.record("\(event)")
        return
      }
    }
    #expect(events == declines, "seed \(seed)")
    #expect(bench.plane.pending.result(of: way.flow) == nil)
    #expect(bench.plane.counters().eventsLost == 0)
    withExtendedLifetime(server) {}
  }
}
