// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import Handoff
import Testing
import Wire

/// Which connections can be served directly, and what the listener is sent for them.
@Suite struct DirectLimitsTests {
  private func snapshot(client: String, mss: UInt16 = 1460, scale: UInt8? = 7) -> TCPSnapshot {
    let address = IPAddress(client)!
    let service = address.isIPv4 ? IPAddress("192.0.2.1")! : IPAddress("2001:db8::1")!
    return TCPSnapshot(
      flow: FlowTuple(client: Endpoint(address, 40_000), service: Endpoint(service, 80)), sendNext: SequenceNumber(77),
      receiveNext: SequenceNumber(5), clientInitialSequence: SequenceNumber(0xffff_fff0), sendWindow: 1 << 20,
      receiveWindow: 65_535, maximumSegmentSize: mss, windowScale: scale.map { .init(send: $0, receive: 7) },
      sackPermitted: true, timestamps: .init(nextValue: 900, recent: 300))
  }

  @Test(
    arguments: [
      ("an ordinary one", "198.51.100.7", UInt16(1460), 300, nil),
      ("the least IPv4 segment", "198.51.100.7", 536, 300, nil),
      ("below it", "198.51.100.7", 535, 300, .smallSegments),
      ("the least IPv6 segment", "2001:db8::7", 1220, 300, nil),
      ("below it", "2001:db8::7", 1219, 300, .smallSegments),
      ("no request at all", "198.51.100.7", 1460, 0, nil),
      ("the longest request", "198.51.100.7", 1460, 60_000, nil),
      ("a longer one", "198.51.100.7", 1460, 60_001, .longRequest),
      ("a link-local client", "fe80::1", 1440, 300, .linkLocalClient),
      ("the last link-local address", "febf:ffff::1", 1440, 300, .linkLocalClient),
      ("the first beyond", "fec0::1", 1440, 300, nil),
    ] as [(String, String, UInt16, Int, DirectObstacle?)])
  func obstacles(_ name: String, _ client: String, _ mss: UInt16, _ bytes: Int, _ expected: DirectObstacle?) {
    #expect(DirectLimits.obstacle(snapshot(client: client, mss: mss), requestBytes: bytes) == expected, "\(name)")
  }

  @Test func theSegmentIsThatOfTheClient() {
    let snapshot = snapshot(client: "198.51.100.7")
    let segment = snapshot.segment(requestBytes: 10)
    #expect(segment.source == snapshot.flow.client)
    #expect(segment.destination == snapshot.flow.service)
    // Before the wrap of the sequence space.
    #expect(segment.sequence == SequenceNumber(0xffff_fffb))
    #expect(segment.acknowledgment == snapshot.sendNext)
    #expect(segment.flags == [.ack, .psh])
    #expect(segment.window == 8192)
    #expect(segment.options.timestamps == TCPTimestamps(value: 300, echo: 900))
    var unscaled = self.snapshot(client: "198.51.100.7", scale: nil)
    unscaled.timestamps = nil
    let plain = unscaled.segment(requestBytes: 0)
    #expect(plain.window == 65_535)
    #expect(plain.options.timestamps == nil)
  }

  @Test(
    arguments: [
      ("LAST_ACK", UInt8(9), Int32(0), RelayEnd.clientClosedFirst),
      ("FIN_WAIT1", 4, 0, .serverClosedFirst), ("FIN_WAIT2", 5, 0, .serverClosedFirst),
      ("TIME_WAIT", 6, 0, .serverClosedFirst), ("CLOSING", 11, 0, .serverClosedFirst),
      ("closed with unread data", 1, 0, .serverReset), ("the same after the client's end", 8, 0, .serverReset),
      ("reset by the client", 1, 104, .clientReset), ("reset after its end", 8, 32, .clientReset),
      ("destroyed", 1, 103, .aborted), ("no answer", 1, 110, .timedOut), ("no route", 4, 113, .timedOut),
    ] as [(String, UInt8, Int32, RelayEnd)])
  func ends(_ name: String, _ state: UInt8, _ error: Int32, _ expected: RelayEnd) {
    #expect(RelayEnd(lastState: state, error: error) == expected, "\(name)")
  }
}
