// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Testing
import Wire

@Suite struct CaptureTests {
  static let client = Endpoint(IPAddress(ipv4: 0x0a4d_0201), 40_000)
  static let service = Endpoint(IPAddress(ipv4: 0x0a4d_0101), 80)

  /// One request, two segments of answer, both sides close.
  static func exchange() -> [CapturedSegment] {
    func segment(
      _ fromClient: Bool, _ sequence: UInt32, _ acknowledgment: UInt32, _ flags: TCPFlags, _ stamp: UInt32,
      payload: Int = 0
    ) -> CapturedSegment {
      var options = TCPOptions()
      options.timestamps = TCPTimestamps(value: stamp, echo: 0)
      if flags.contains(.syn) {
        options.maximumSegmentSize = 1460
        options.windowScale = 7
        options.sackPermitted = true
      }
      return CapturedSegment(
        time: UInt64(stamp) * 1_000_000,
        segment: TCPSegment(
          source: fromClient ? client : service, destination: fromClient ? service : client,
          sequence: SequenceNumber(sequence), acknowledgment: SequenceNumber(acknowledgment), flags: flags,
          window: 500, options: options),
        payload: payload)
    }
    // The client's numbers wrap within the request.
    return [
      segment(true, 0xffff_fff0, 0, .syn, 1),
      segment(false, 1000, 0xffff_fff1, [.syn, .ack], 501),
      segment(true, 0xffff_fff1, 1001, .ack, 2),
      segment(true, 0xffff_fff1, 1001, [.ack, .psh], 3, payload: 100),
      segment(false, 1001, 85, [.ack], 502, payload: 1448),
      segment(false, 2449, 85, [.ack, .psh, .fin], 503, payload: 10),
      segment(true, 85, 2460, [.ack, .fin], 4),
      segment(false, 2460, 86, .ack, 504),
    ]
  }

  @Test func aGoodConnectionBreaksNoRule() throws {
    let traces = ConnectionTrace.connections(in: Self.exchange(), servicePort: 80)
    #expect(traces.count == 1)
    #expect(traces[0].violations() == [])
    #expect(traces[0].bytes(fromClient: true) == 100)
    #expect(traces[0].bytes(fromClient: false) == 1458)
    #expect(traces[0].resetsToClient == 0)
  }

  struct Fault: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var index: Int
    var change: @Sendable (inout CapturedSegment) -> Void
    /// Part of what is to be said.
    var word: String
  }

  static let faults: [Fault] = [
    Fault(testDescription: "gap", index: 5, change: { $0.segment.sequence = SequenceNumber(2450) }, word: "gap of 1"),
    Fault(
      testDescription: "sent again", index: 5, change: { $0.segment.sequence = SequenceNumber(2400) },
      word: "49 bytes sent again"),
    Fault(
      testDescription: "acknowledges the future", index: 4,
      change: { $0.segment.acknowledgment = SequenceNumber(86) }, word: "acknowledges 1 bytes"),
    Fault(
      testDescription: "time goes back", index: 5, change: { $0.segment.options.timestamps?.value = 500 },
      word: "timestamp 500 after 502"),
    Fault(
      testDescription: "timestamp missing", index: 4, change: { $0.segment.options.timestamps = nil },
      word: "no timestamps"),
    Fault(
      testDescription: "scale not offered", index: 0, change: { $0.segment.options.windowScale = nil },
      word: "window scale that was not offered"),
    Fault(
      testDescription: "SACK not offered", index: 0, change: { $0.segment.options.sackPermitted = false },
      word: "SACK permission"),
    Fault(testDescription: "reset", index: 4, change: { $0.segment.flags = .rst }, word: "reset before any FIN"),
    Fault(
      testDescription: "beyond the window", index: 3, change: { $0.payload = 70_000 }, word: "beyond the window"),
  ]

  @Test(arguments: faults)
  func everyFaultIsNamed(_ fault: Fault) {
    var segments = Self.exchange()
    fault.change(&segments[fault.index])
    let violations = ConnectionTrace.connections(in: segments, servicePort: 80).flatMap { $0.violations() }
    #expect(violations.contains { $0.contains(fault.word) }, "\(violations)")
  }

  @Test func aReusedPortIsAnotherConnection() {
    var second = Self.exchange()
    for index in second.indices {
      second[index].segment.sequence = second[index].segment.sequence.advanced(by: 5000)
      second[index].segment.acknowledgment = second[index].segment.acknowledgment.advanced(by: 5000)
    }
    let traces = ConnectionTrace.connections(in: Self.exchange() + second, servicePort: 80)
    #expect(traces.map(\.segments.count) == [8, 8])
  }

  @Test func brokenFilesAreNamed() {
    let header: [UInt8] = [0xd4, 0xc3, 0xb2, 0xa1] + [UInt8](repeating: 0, count: 16) + [1, 0, 0, 0]
    for (name, bytes) in [
      ("short", [1, 2, 3]), ("no magic", [UInt8](repeating: 7, count: 24)),
      ("cut header", header + [0]), ("cut record", header + [0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 1]),
      ("other link", Array(header.dropLast(4)) + [113, 0, 0, 0]),
    ] as [(String, [UInt8])] {
      let error = #expect(throws: LabError.self) { try PacketFile.parse(bytes, name: name) }
      #expect(error?.description.contains(name) == true)
    }
    #expect(throws: Never.self) { try PacketFile.parse(header, name: "empty") }
  }

  /// tcpdump's own file of a real connection is read, and the connection keeps the rules.
  @Test func aRealCaptureIsRead() throws {
    let site = ClusterTests.site
    var plan = ClusterPlan(front: .direct, servers: [.nginx])
    plan.offloads = false
    let cluster = try Cluster.start(plan, site: site)
    defer { cluster.stop() }
    let page = try #require(site.pages.max { $0.size < $1.size })
    let capture = try Capture(in: cluster.client, file: "\(cluster.run.folder)/test.pcap")
    for endpoint in cluster.endpoints + cluster.endpoints6 {
      try cluster.client.run(["curl", "-sS", "-o", "/dev/null", "http://\(endpoint)\(page.path)"]).checked()
    }
    let traces = ConnectionTrace.connections(in: try capture.stop(), servicePort: plan.serverPort)
    #expect(traces.count == 2)
    for trace in traces {
      #expect(trace.violations() == [])
      #expect(trace.bytes(fromClient: false) > page.size)
      #expect(trace.toClient.allSatisfy { $0.payload <= 1460 })
    }
  }
}
