// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// One rule of the serving program about a frame by itself: no connection is waiting, and this node has one of
/// `ServeRule.connected`.
struct ServeRule: Sendable, CustomTestStringConvertible {
  var name: String
  var frame: Frame
  var outcome: ServeOutcome
  var segmentSize: UInt32 = 0

  var testDescription: String { name }
  /// Everything else passes.
  var isDropped: Bool { outcome == .noConnection }

  static func connected(_ flow: FlowTuple) -> FlowTuple {
    FlowTuple(client: Endpoint(flow.client.address, flow.client.port + 7), service: flow.service)
  }

  private static let request: [UInt8] = [1, 2, 3]

  /// The rules that are the same for both families.
  private static func both(_ family: String, _ flow: FlowTuple) -> [ServeRule] {
    let data = Frame.tcp(flow, [.ack, .psh], payload: request)
    let known = connected(flow)
    let otherPort = FlowTuple(client: flow.client, service: Endpoint(flow.service.address, 81))
    var otherAddress = flow
    otherAddress.service.address.low ^= 1
    func rule(_ name: String, _ frame: Frame, _ outcome: ServeOutcome) -> ServeRule {
      ServeRule(name: "\(family): \(name)", frame: frame, outcome: outcome)
    }
    return [
      rule("port that is not served", Frame.tcp(otherPort, .ack, payload: request), .notService),
      rule("address that is not served", Frame.tcp(otherAddress, .ack, payload: request), .notService),
      rule("SYN to a port that is not served", Frame.tcp(otherPort, .syn), .notService),
      rule("a response", Frame.tcp(from: flow.service, to: flow.client, flags: .ack, payload: request), .notService),
      rule("frame for another node", data.with(0x02, 0, 0, 0, 0, 0x99, at: 0), .notService),
      rule("broadcast frame", data.with(255, 255, 255, 255, 255, 255, at: 0), .notService),
      rule("multicast frame", data.with(1, 0, 0x5e, 0, 0, 1, at: 0), .notService),
      rule("VLAN tag", data.tagged(), .notService),
      rule("SYN", Frame.tcp(flow, .syn), .syn),
      rule("SYN with data", Frame.tcp(flow, .syn, payload: request), .syn),
      rule("SYN and ACK", Frame.tcp(flow, [.syn, .ack]), .syn),
      rule("SYN and RST", Frame.tcp(flow, [.syn, .rst]), .syn),
      rule("SYN on a connection", Frame.tcp(known, .syn), .syn),
      rule("ACK without a connection", Frame.tcp(flow, .ack), .control),
      rule("ACK of a connection", Frame.tcp(known, .ack), .control),
      rule("padded ACK has no payload", Frame.tcp(flow, .ack).padded(by: 6), .control),
      rule("no flags and no payload", Frame.tcp(flow, []), .control),
      rule("FIN without a connection", Frame.tcp(flow, [.ack, .fin]), .control),
      rule("FIN with data", Frame.tcp(flow, [.ack, .fin], payload: request), .control),
      rule("RST", Frame.tcp(flow, .rst), .control),
      rule("RST with data", Frame.tcp(flow, .rst, payload: request), .control),
      rule("FIN of a connection", Frame.tcp(known, [.ack, .fin], payload: request), .control),
      rule("data without a connection", data, .noConnection),
      rule("one byte without a connection", Frame.tcp(flow, .ack, payload: [0]), .noConnection),
      rule("data without flags or a connection", Frame.tcp(flow, [], payload: request), .noConnection),
      rule("data of a connection", Frame.tcp(known, .ack, payload: request), .connection),
      rule("old data of a connection", Frame.tcp(known, .ack, sequence: 1, payload: request), .connection),
      rule("padded data of a connection", Frame.tcp(known, .ack, payload: request).padded(by: 9), .connection),
      rule(
        "data of another port of the client",
        Frame.tcp(
          FlowTuple(client: Endpoint(known.client.address, known.client.port + 1), service: known.service), .ack,
          payload: request), .noConnection),
      rule("wrong TCP checksum is the kernel's business", data.with(0xde, 0xad, at: data.tcpStart + 16), .noConnection),
      rule("data offset 4 words", data.with(0x40, at: data.tcpStart + 12), .malformed),
      rule("data offset 0", data.with(0, at: data.tcpStart + 12), .malformed),
      rule("data offset past the end", data.with(0xf0, at: data.tcpStart + 12), .malformed),
      rule(
        "options in the padding", Frame.tcp(flow, .ack).padded(by: 20).with(0x60, at: data.tcpStart + 12), .malformed),
      rule(
        "options up to the end", Frame.tcp(flow, .ack, payload: [1, 1, 1, 1]).with(0x60, at: data.tcpStart + 12),
        .control),
    ]
  }

  private static var ipv4: [ServeRule] {
    let ip = Frame.ipStart
    let data = Frame.tcp(Addresses.flow4, .ack, payload: request)
    let known = Frame.tcp(connected(Addresses.flow4), .ack, payload: request)
    func rule(_ name: String, _ frame: Frame, _ outcome: ServeOutcome, segmentSize: UInt32 = 0) -> ServeRule {
      ServeRule(name: "IPv4: \(name)", frame: frame, outcome: outcome, segmentSize: segmentSize)
    }
    return [
      rule("ARP", data.with(0x08, 0x06, at: 12), .notService),
      rule("UDP", data.with(17, at: ip + 9), .notService),
      rule("version 5", data.with(0x55, at: ip), .malformed),
      rule("version 6", data.with(0x65, at: ip), .malformed),
      rule("header length 4 words", data.with(0x44, at: ip), .malformed),
      rule("header length past the end", data.with(0x4f, at: ip), .malformed),
      rule("total length past the frame", data.with(0, 44, at: ip + 2), .malformed),
      rule("total length 0", data.with(0, 0, at: ip + 2), .malformed),
      rule("total length cuts the TCP header", data.with(0, 39, at: ip + 2), .malformed),
      rule("total length cuts the payload", data.with(0, 40, at: ip + 2), .control),
      rule("total length leaves a byte of payload", data.with(0, 41, at: ip + 2), .noConnection),
      rule("TCP header cut", data.truncated(to: ip + 39), .malformed),
      rule("first fragment", known.with(0x20, 0, at: ip + 6), .notService),
      rule("later fragment", known.with(0x00, 1, at: ip + 6), .notService),
      rule("must not be fragmented", known.with(0x40, 0, at: ip + 6), .connection),
      rule("4 bytes of IP options", known.withIPv4Options(4), .connection),
      rule("40 bytes of IP options", known.withIPv4Options(40), .connection),
      rule("joined segments", known, .connection, segmentSize: 1448),
      rule("joined segments beyond 64 KB", known.with(0, 0, at: ip + 2), .connection, segmentSize: 1448),
    ]
  }

  private static var ipv6: [ServeRule] {
    let ip = Frame.ipStart
    let data = Frame.tcp(Addresses.flow6, .ack, payload: request)
    let known = Frame.tcp(connected(Addresses.flow6), .ack, payload: request)
    func rule(_ name: String, _ frame: Frame, _ outcome: ServeOutcome, segmentSize: UInt32 = 0) -> ServeRule {
      ServeRule(name: "IPv6: \(name)", frame: frame, outcome: outcome, segmentSize: segmentSize)
    }
    return [
      rule("UDP", data.with(17, at: ip + 6), .notService),
      rule("version 4", data.with(0x40, at: ip), .malformed),
      rule("hop-by-hop options", data.withExtensionHeader(0), .notService),
      rule("fragment header", data.withExtensionHeader(44), .notService),
      rule("payload length past the frame", data.with(0, 24, at: ip + 4), .malformed),
      rule("payload length 0", data.with(0, 0, at: ip + 4), .malformed),
      rule("payload length cuts the TCP header", data.with(0, 19, at: ip + 4), .malformed),
      rule("payload length cuts the payload", data.with(0, 20, at: ip + 4), .control),
      rule("TCP header cut", data.truncated(to: ip + 59), .malformed),
      rule("joined segments", known, .connection, segmentSize: 1428),
      rule("jumbo packet of joined segments", known.with(0, 0, at: ip + 4), .connection, segmentSize: 1428),
    ]
  }

  static let all = both("IPv4", Addresses.flow4) + both("IPv6", Addresses.flow6) + ipv4 + ipv6
}

/// The serving program's ingress rules, one frame each.
struct ServeRuleTests {
  /// Each name stands for one rule.
  @Test func namesDiffer() {
    #expect(Set(ServeRule.all.map(\.name)).count == ServeRule.all.count)
  }

  @Test func rules() throws {
    let bench = try ServeBench()
    let connection4 = try bench.connect(ServeRule.connected(Addresses.flow4))
    let connection6 = try bench.connect(ServeRule.connected(Addresses.flow6))
    // A listener where clients dial is no connection.
    let listener4 = try bench.listen(at: Addresses.service4)
    let listener6 = try bench.listen(at: Endpoint(IPAddress(high: 0, low: 0), ServeBench.serverPort))
    for rule in ServeRule.all {
      let (run, outcomes) = try bench.run(rule.frame, segmentSize: rule.segmentSize)
      #expect(outcomes == [rule.outcome], "\(rule.name)")
      #expect(run.verdict == (rule.isDropped ? .drop : .pass), "\(rule.name)")
      #expect(run.frame == rule.frame && run.mark == 0, "\(rule.name): the frame was changed")
    }
    for socket in [connection4.raw, connection6.raw, listener4.raw, listener6.raw] { #expect(socket >= 0) }
  }
}
