// SPDX-License-Identifier: Apache-2.0

import Testing
import Wire

@Suite struct SequenceNumberTests {
  /// Name, left, right, distance from left to right.
  static let cases: [(String, UInt32, UInt32, Int)] = [
    ("equal", 7, 7, 0),
    ("next", 7, 8, 1),
    ("previous", 8, 7, -1),
    ("next over the wrap", 0xffff_ffff, 0, 1),
    ("previous over the wrap", 0, 0xffff_ffff, -1),
    ("window over the wrap", 0xffff_fff0, 0x0000_fff0, 0x10000),
    ("farthest later", 0, 0x7fff_ffff, 0x7fff_ffff),
    ("farthest later over the wrap", 0x8000_0001, 0, 0x7fff_ffff),
    ("farthest earlier", 0x7fff_ffff, 0, -0x7fff_ffff),
  ]

  @Test(arguments: cases)
  func `order and distance agree`(name: String, left: UInt32, right: UInt32, distance: Int) {
    let left = SequenceNumber(left)
    let right = SequenceNumber(right)
    #expect(left.distance(to: right) == distance)
    #expect(left.advanced(by: distance) == right)
    #expect((left < right) == (distance > 0))
    #expect((left <= right) == (distance >= 0))
    #expect((left > right) == (distance < 0))
    #expect((left >= right) == (distance <= 0))
  }

  @Test func `half the space away, each of two numbers is after the other`() {
    let left = SequenceNumber(5)
    let right = SequenceNumber(0x8000_0005)
    #expect(left > right)
    #expect(right > left)
  }

  @Test func `advancing wraps and takes any count`() {
    #expect(SequenceNumber(0xffff_ffff).advanced(by: 1) == SequenceNumber(0))
    #expect(SequenceNumber(0).advanced(by: -1) == SequenceNumber(0xffff_ffff))
    #expect(SequenceNumber(3).advanced(by: 1 << 32) == SequenceNumber(3))
    #expect(SequenceNumber(3).advanced(by: .max) == SequenceNumber(2))
    #expect(SequenceNumber(3).advanced(by: .min) == SequenceNumber(3))
  }

  @Test func `SYN and FIN occupy a sequence number each`() {
    var segment = TCPSegment(
      source: Endpoint(IPAddress(ipv4: 1), 1), destination: Endpoint(IPAddress(ipv4: 2), 2),
      sequence: SequenceNumber(0), flags: [.ack, .psh, .urg, .rst])
    #expect(segment.sequenceLength(payload: 10) == 10)
    segment.flags = .syn
    #expect(segment.sequenceLength(payload: 0) == 1)
    segment.flags = [.syn, .fin]
    #expect(segment.sequenceLength(payload: 10) == 12)
  }
}
