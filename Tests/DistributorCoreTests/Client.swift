// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Handoff
import Testing
import Wire

/// The client's end as a test writes it: sequence numbers count from its SYN and, once the SYN-ACK came, from ours.
final class Client {
  static let initial = SequenceNumber(0xffff_ff00)

  let rig: Rig
  let source: Endpoint
  let service: Endpoint
  var initial = Client.initial
  /// Our initial sequence number, from the SYN-ACK.
  var serverInitial = SequenceNumber(0)
  var options: TCPOptions
  /// TSval and TSecr of the next segment; nil when timestamps are off.
  var timestamps: TCPTimestamps?
  var window: UInt16 = 500

  static let allOptions = TCPOptions(
    maximumSegmentSize: 1400, windowScale: 9, sackPermitted: true, timestamps: TCPTimestamps(value: 7_000, echo: 0))

  init(_ rig: Rig, port: UInt16 = 40_000, v6: Bool = false, options: TCPOptions = Client.allOptions) {
    self.rig = rig
    service = v6 ? Rig.service6 : Rig.service4
    let address =
      v6 ? IPAddress(high: 0x2001_0db8_0001_0000, low: 0x7) : IPAddress(ipv4: 0x0a4d_0207)
    source = Endpoint(address, port)
    self.options = options
    timestamps = options.timestamps
  }

  var flow: FlowTuple { FlowTuple(client: source, service: service) }

  /// A packet from this client. `at` counts from the first byte after the SYN, `acknowledging` likewise on our side.
  func packet(
    _ flags: TCPFlags, at offset: Int = 0, _ payload: some Sequence<UInt8> = [], acknowledging: Int = 0,
    window: UInt16? = nil, options: TCPOptions? = nil
  ) -> [UInt8] {
    let payload = Array(payload)
    let segment = TCPSegment(
      source: source, destination: service, sequence: initial.advanced(by: 1 + offset),
      acknowledgment: flags.contains(.ack) ? serverInitial.advanced(by: 1 + acknowledging) : SequenceNumber(0),
      flags: flags, window: window ?? self.window, options: options ?? TCPOptions(timestamps: timestamps))
    return PacketBuilder.packet(segment, payload)
  }

  func send(
    _ flags: TCPFlags, at offset: Int = 0, _ text: String = "", acknowledging: Int = 0, window: UInt16? = nil
  ) throws -> [Event] {
    try rig.receive(packet(flags, at: offset, text.utf8, acknowledging: acknowledging, window: window))
  }

  func syn() throws -> [Event] { try rig.receive(packet(.syn, at: -1, options: options)) }

  /// SYN, SYN-ACK, ACK. Learns our numbers.
  func connect(sourceLocation: SourceLocation = #_sourceLocation) throws {
    learn(try syn(), sourceLocation: sourceLocation)
    let events = try send(.ack)
    #expect(events.isEmpty, "an acknowledgment is not answered: \(events)", sourceLocation: sourceLocation)
  }

  func learn(_ events: [Event], sourceLocation: SourceLocation = #_sourceLocation) {
    guard case .transmit(let synAck)? = events.first, synAck.segment.flags == [.syn, .ack] else {
      Issue.record("expected a SYN-ACK, got \(events)", sourceLocation: sourceLocation)
      return
    }
    serverInitial = synAck.segment.sequence
    timestamps = synAck.segment.options.timestamps.map { TCPTimestamps(value: $0.echo, echo: $0.value) }
  }

  /// Sends a whole request and returns the name of the attempt that it starts.
  func request(_ text: String = Client.get, sourceLocation: SourceLocation = #_sourceLocation) throws -> HandoffID {
    let events = try send([.ack, .psh], text)
    // A request in one segment is acknowledged by the back-end.
    guard events.count == 1, case .decide(let id, _, _, _) = events[0] else {
      Issue.record("expected .decide, got \(events)", sourceLocation: sourceLocation)
      return HandoffID(.max)
    }
    return id
  }

  /// Connects, requests and has it assigned to `backEnd`.
  func handOff(
    to backEnd: UInt16 = 3, _ text: String = Client.get, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> HandoffID {
    try connect(sourceLocation: sourceLocation)
    let id = try request(text, sourceLocation: sourceLocation)
    let events = try rig.decided(id, .backEnd(backEnd))
    guard events.count == 1, case .handOff(id, backEnd: backEnd, _, request: text) = events[0] else {
      Issue.record("expected .handOff, got \(events)", sourceLocation: sourceLocation)
      return id
    }
    return id
  }

  static let get = "GET /a HTTP/1.1\r\nHost: example.org\r\n\r\n"
}

extension Sent {
  /// Checks a segment of ours against what `client` counts; every difference is named.
  func expect(
    _ flags: TCPFlags, from client: Client, at offset: Int, acknowledging: Int, _ text: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    var differences: [String] = []
    func compare<Value: Equatable>(_ name: String, _ actual: Value, _ wanted: Value) {
      if actual != wanted { differences.append("\(name) is \(actual), not \(wanted)") }
    }
    compare("flags", segment.flags.names, flags.names)
    compare("source", segment.source, client.service)
    compare("destination", segment.destination, client.source)
    compare("sequence", client.serverInitial.distance(to: segment.sequence) - 1, offset)
    compare("acknowledgment", client.initial.distance(to: segment.acknowledgment) - 1, acknowledging)
    compare("timestamps", segment.options.timestamps != nil, client.timestamps != nil)
    if let text { compare("payload", self.text, text) }
    #expect(differences.isEmpty, "\(differences.joined(separator: "; ")) in \(self)", sourceLocation: sourceLocation)
  }
}

/// Builds packets.
enum PacketBuilder {
  static func packet(_ segment: TCPSegment, _ payload: [UInt8]) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: segment.headerLength + payload.count)
    var span = bytes.mutableSpan
    _ = segment.emit(payload: payload.span, into: &span)
    return bytes
  }
}

extension [Event] {
  /// The only event, when it is a segment of ours.
  func onlySegment(sourceLocation: SourceLocation = #_sourceLocation) throws -> Sent {
    guard count == 1, case .transmit(let sent) = self[0] else {
      Issue.record("expected one segment, got \(self)", sourceLocation: sourceLocation)
      throw UnexpectedEvents()
    }
    return sent
  }

  var segments: [Sent] { compactMap { if case .transmit(let sent) = $0 { sent } else { nil } } }
  var delivered: [Sent] { compactMap { if case .deliver(let sent, _) = $0 { sent } else { nil } } }
  var decision: HandoffID? {
    for case .decide(let id, _, _, _) in self { return id }
    return nil
  }
  var snapshot: TCPSnapshot? {
    for case .handOff(_, _, let snapshot, _) in self { return snapshot }
    return nil
  }
}

struct UnexpectedEvents: Error {}
