// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Handoff
import Rules
import Testing
import Wire

/// A segment as the client or a back-end would see it.
struct Sent: Equatable, CustomStringConvertible {
  var segment: TCPSegment
  var payload: [UInt8]

  /// - Parameter verifying: false for packets that only pass through.
  init(_ bytes: [UInt8], verifying: Bool = true) throws {
    let parsed = try TCPSegment.parse(bytes.span, verifyingChecksums: verifying)
    segment = parsed.segment
    payload = Array(bytes[parsed.payload])
  }

  var text: String { String(decoding: payload, as: UTF8.self) }
  var description: String {
    "\(segment.flags.names) seq \(segment.sequence) ack \(segment.acknowledgment) win \(segment.window) len \(payload.count)"
  }
}

/// An action with the bytes it refers to.
enum Event: Equatable {
  case transmit(Sent)
  case decide(HandoffID, target: UInt64, route: Route, excluded: UInt16?)
  case handOff(HandoffID, backEnd: UInt16, TCPSnapshot, request: String)
  /// The same after a packet of which no word came.
  case handOffAgain(HandoffID, backEnd: UInt16, TCPSnapshot, request: String)
  case withdraw(HandoffID, FlowTuple)
  case closing(HandoffID, FlowTuple)
  case abort(HandoffID, backEnd: UInt16)
  case established(HandoffID, FlowTuple, SequenceNumber, backEnd: UInt16)
  case deliver(Sent, backEnd: UInt16)
  case returned(UInt16)
  case unknown([UInt8])
  case handedOff(LeasedHandoff, FlowTuple)
  case disown(HandoffID, FlowTuple)
}

extension Event {
  init(_ action: Action, _ bytes: [UInt8]) throws {
    switch action {
    case .transmit(let range): self = .transmit(try Sent(Array(bytes[range])))
    case .decide(let id, let target, let route, let excluded):
      self = .decide(id, target: target, route: route, excluded: excluded)
    case .handOff(let id, let backEnd, let snapshot, let request, .messageAfterPacket):
      self = .handOffAgain(id, backEnd: backEnd, snapshot, request: String(decoding: bytes[request], as: UTF8.self))
    case .flowClosing(let id, let flow): self = .closing(id, flow)
    case .withdrawFlow(let id, let flow, clientInitialSequence: _): self = .withdraw(id, flow)
    case .handedOff(let handoff, let flow): self = .handedOff(handoff, flow)
    case .disownFlow(let id, let flow, clientInitialSequence: _): self = .disown(id, flow)
    case .handOff(let id, let backEnd, let snapshot, let request, _):
      self = .handOff(id, backEnd: backEnd, snapshot, request: String(decoding: bytes[request], as: UTF8.self))
    case .abortHandoff(let id, let backEnd): self = .abort(id, backEnd: backEnd)
    case .flowEstablished(let id, let flow, let initial, sendNext: _, let backEnd, isClosing: _, requestedAt: _):
      self = .established(id, flow, initial, backEnd: backEnd)
    case .deliver(let range, let backEnd):
      self = .deliver(try Sent(Array(bytes[range]), verifying: false), backEnd: backEnd)
    case .returnAssignment(let backEnd): self = .returned(backEnd)
    case .unknownFlow(let range): self = .unknown(Array(bytes[range]))
    }
  }
}

/// A responder with a clock that the test owns. Whatever it does is checked against the sums of the counters.
final class Rig {
  static let service4 = Endpoint(IPAddress(ipv4: 0x0a4d_0064), 80)
  static let service6 = Endpoint(IPAddress(high: 0x2001_0db8_0000_0000, low: 0x64), 80)
  static let targetKey = KeyedHash(1, 2)
  static let second: UInt64 = 1_000_000_000

  private var responder: Responder
  private var actions = ActionList()
  private(set) var now: UInt64 = 5_000 * second
  /// How the last handoff may travel.
  private(set) var way: HandoffWay?

  init(_ adjust: (inout ResponderConfiguration) -> Void = { _ in }) {
    var configuration = ResponderConfiguration(targetKey: Rig.targetKey)
    configuration.packetTimeout = 100_000_000
    configuration.maximumConnections = 64
    adjust(&configuration)
    var generator = SplitMix(seed: 42)
    let handshake = HandshakeKeys(now: now, using: &generator)
    responder = Responder(
      configuration: configuration, keys: ResponderKeys(handshake: handshake, using: &generator),
      services: [Rig.service4, Rig.service6],
      now: now)
  }

  func knows(_ id: HandoffID) -> Bool { responder.knows(id) }
  var counters: ResponderCounters { responder.counters }
  var nextDeadline: UInt64? { responder.nextDeadline }
  var openConnections: Int { responder.openConnections }

  func receive(_ packet: [UInt8]) throws -> [Event] {
    responder.receive(packet.span, now: now, into: &actions)
    return try take()
  }

  func handedOff(_ handoff: LeasedHandoff, _ packet: [UInt8]) throws -> [Event] {
    responder.handedOff(handoff, packet.span, now: now, into: &actions)
    return try take()
  }

  func decided(_ id: HandoffID, _ outcome: DecisionOutcome) throws -> [Event] {
    responder.decided(id, outcome, now: now, into: &actions)
    return try take()
  }

  func accepted(_ id: HandoffID, by backEnd: UInt16) throws -> [Event] {
    responder.handoffAccepted(id, by: backEnd, now: now, into: &actions)
    return try take()
  }

  func refused(_ id: HandoffID, _ reason: HandoffRefusal) throws -> [Event] {
    responder.handoffRefused(id, reason, now: now, into: &actions)
    return try take()
  }

  func lost(_ backEnd: UInt16, isSilent: Bool = false) throws -> [Event] {
    responder.backEndLost(backEnd, isSilent: isSilent, now: now, into: &actions)
    return try take()
  }

  func passed(_ id: HandoffID) throws -> [Event] {
    responder.handoffPassed(id, now: now, into: &actions)
    return try take()
  }

  func wanted(_ id: HandoffID, by backEnd: UInt16) throws -> [Event] {
    responder.handoffWanted(id, by: backEnd, now: now, into: &actions)
    return try take()
  }

  func withdrawn(_ id: HandoffID, isAnswered: Bool) throws -> [Event] {
    responder.flowWithdrawn(id, isAnswered: isAnswered, now: now, into: &actions)
    return try take()
  }

  func ended(_ id: HandoffID, by backEnd: UInt16) throws -> [Event] {
    responder.handoffEnded(id, by: backEnd, now: now, into: &actions)
    return try take()
  }

  func refuseUnknown(_ packet: [UInt8]) throws -> [Event] {
    responder.refuseUnknown(packet.span, now: now, into: &actions)
    return try take()
  }

  func stopAccepting() { responder.stopAccepting() }
  func setClock(_ seconds: UInt64) { responder.setClock(secondsSince1970: seconds, now: now) }

  /// Lets time pass, firing timers when they are due.
  func pass(seconds: Double) throws -> [Event] { try pass(nanoseconds: UInt64(seconds * 1e9)) }

  func pass(nanoseconds: UInt64) throws -> [Event] {
    let end = now + nanoseconds
    var events: [Event] = []
    while let deadline = responder.nextDeadline, deadline <= end {
      now = max(now, deadline)
      responder.tick(now: now, into: &actions)
      events += try take()
    }
    now = end
    responder.tick(now: now, into: &actions)
    return try events + take()
  }

  private func take() throws -> [Event] {
    defer { actions.removeAll() }
    #expect(responder.counters.agrees, "the sums of the counters disagree: \(responder.counters)")
    let bytes = actions.bytes
    var events: [Event] = []
    for action in actions.actions {
      if case .handOff(_, backEnd: _, snapshot: _, request: _, let way) = action { self.way = way }
      events.append(try Event(action, bytes))
    }
    return events
  }

  /// Waits until every entry has gone and checks that nothing is left.
  func expectEmptyAfterAll(_ comment: String = "", sourceLocation: SourceLocation = #_sourceLocation) throws {
    _ = try pass(seconds: 120)
    let left = counters
    #expect(
      left.entries == 0 && left.open == 0 && left.embryonic == 0 && left.bufferBytes == 0 && left.heldBytes == 0
        && left.attemptsUnderWay == 0 && nextDeadline == nil,
      "left over: \(left.all.filter { $0.value != 0 && !$0.name.hasSuffix("_total") }) \(comment)",
      sourceLocation: sourceLocation)
  }
}

/// A small seeded generator (Steele, Lea, Flood 2014), so that a seed in a failure message repeats the run.
struct SplitMix: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = (state ^ state >> 30) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
    return mixed ^ mixed >> 31
  }

  mutating func chance(_ percent: UInt64) -> Bool { next() % 100 < percent }
  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}

extension TCPFlags {
  var names: String {
    let all: [(TCPFlags, String)] = [
      (.syn, "SYN"), (.fin, "FIN"), (.rst, "RST"), (.psh, "PSH"), (.ack, "ACK"), (.urg, "URG"),
    ]
    return all.filter { contains($0.0) }.map(\.1).joined(separator: "|")
  }
}
