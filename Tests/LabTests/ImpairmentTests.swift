// SPDX-License-Identifier: Apache-2.0

import Lab
import Testing
import Wire

@Suite struct ImpairmentTests {
  /// An Ethernet frame with a TCP segment of the test's connection.
  private func frame(_ flags: TCPFlags, fromClient: Bool = true, payload: Int = 0, port: UInt16 = 40_000) -> [UInt8] {
    let client = Endpoint(IPAddress(ipv4: 0x0a4d_0201), port)
    let service = Endpoint(IPAddress(ipv4: 0x0a4d_0101), 80)
    let segment = TCPSegment(
      source: fromClient ? client : service, destination: fromClient ? service : client,
      sequence: SequenceNumber(1), flags: flags)
    var packet = [UInt8](repeating: 0, count: segment.headerLength + payload)
    let data = [UInt8](repeating: 0x61, count: payload)
    var span = packet.mutableSpan
    _ = segment.emit(payload: data.span, into: &span)
    return [UInt8](repeating: 2, count: 12) + [8, 0] + packet
  }

  /// The frames of one connection with the phase of each.
  private var connection: [(frame: [UInt8], direction: Impairment.Direction, phase: Impairment.Phase)] {
    [
      (frame(.syn), .fromClient, .syn),
      (frame([.syn, .ack], fromClient: false), .toClient, .synAck),
      (frame(.ack), .fromClient, .handshakeAck),
      (frame(.ack, payload: 10), .fromClient, .request),
      (frame(.ack, fromClient: false), .toClient, .acknowledgement),
      (frame(.ack, fromClient: false, payload: 20), .toClient, .response),
      (frame(.ack), .fromClient, .acknowledgement),
      (frame([.fin, .ack], fromClient: false), .toClient, .fin),
      (frame([.rst]), .fromClient, .reset),
    ]
  }

  @Test(arguments: Impairment.Phase.allCases)
  func onePhaseIsHitAndNoOther(_ phase: Impairment.Phase) {
    var judge = ImpairmentJudge(.droppingFirst(1, phase))
    var hit = false
    for (index, step) in connection.enumerated() {
      let fate = judge.fate(of: step.frame.span, step.direction)
      let isFirst = step.phase == phase && !hit
      #expect(fate == (isFirst ? [] : [0]), "frame \(index), \(step.phase)")
      hit = hit || isFirst
      // What is sent again passes.
      if isFirst { #expect(judge.fate(of: step.frame.span, step.direction) == [0]) }
    }
    #expect(hit)
  }

  @Test func theSameSeedGivesTheSameFate() {
    let network = Impairment.everywhere(seed: 4, drop: 0.1, duplicate: 0.1, reorder: 0.1)
    func fates(_ impairment: Impairment) -> [[UInt64]] {
      var judge = ImpairmentJudge(impairment)
      let frame = frame(.ack, payload: 5)
      return (0..<10_000).map { _ in judge.fate(of: frame.span, .fromClient) }
    }
    let first = fates(network)
    #expect(first == fates(network))
    #expect(first != fates(.everywhere(seed: 5, drop: 0.1, duplicate: 0.1, reorder: 0.1)))
    // 1000 of 10,000 expected, standard deviation 30.
    for (name, count) in [
      ("dropped", first.count { $0.isEmpty }),
      ("duplicated", first.count { $0.count == 2 } * 10 / 9),
      ("held", first.count { $0.contains { $0 > 0 } } * 10 / 9),
    ] {
      #expect((850...1150).contains(count), "\(name) \(count)")
    }
  }

  @Test func rulesOfTheOtherDirectionAndOtherTrafficPass() {
    var rule = Impairment.Rule()
    rule.direction = .toClient
    rule.drop = 1
    var judge = ImpairmentJudge(Impairment(seed: 1, rules: [rule]))
    #expect(judge.fate(of: frame(.ack, payload: 5).span, .fromClient) == [0])
    #expect(judge.fate(of: frame(.ack, fromClient: false, payload: 5).span, .toClient) == [])
    let arp = [UInt8](repeating: 0xff, count: 12) + [8, 6] + [UInt8](repeating: 0, count: 28)
    #expect(judge.fate(of: arp.span, .toClient) == [0])
    #expect(judge.fate(of: [UInt8]().span, .toClient) == [0])
  }
}
