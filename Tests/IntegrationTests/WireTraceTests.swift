// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Testing
import Wire

extension IntegrationTests {
  /// What a capture beside the client shows of each connection.
  @Suite(.serialized, .cluster(.onTheWire))
  struct WireTraceTests {
    /// A client whose kernel offers what it is told to.
    struct Client: Sendable, CustomTestStringConvertible {
      var testDescription: String
      var timestamps = true
      var selective = true
      var windowScaling = true
      var segmentSize: UInt16?

      static let all = [
        Client(testDescription: "everything"),
        Client(testDescription: "no timestamps", timestamps: false),
        Client(testDescription: "no SACK", selective: false),
        Client(testDescription: "no window scaling", windowScaling: false),
        Client(testDescription: "no options", timestamps: false, selective: false, windowScaling: false),
        Client(testDescription: "small segments", segmentSize: 700),
      ]

      func apply(in cluster: Cluster, to endpoint: Endpoint) throws {
        let settings = [("timestamps", timestamps), ("sack", selective), ("window_scaling", windowScaling)]
        try cluster.client.perform {
          for (name, isOn) in settings { try Sysctl.write("net/ipv4/tcp_\(name)", isOn ? "1" : "0") }
          // Never more in flight than what a processor's queue of received frames takes (1000).
          for name in ["tcp_rmem", "tcp_wmem"] { try Sysctl.write("net/ipv4/\(name)", "4096 65536 400000") }
        }
        let length = endpoint.address.isIPv4 ? 32 : 128
        let route = ["\(endpoint.address)/\(length)", "dev", "eth0"]
        if let segmentSize {
          try cluster.client.run(["ip", "route", "replace"] + route + ["advmss", "\(segmentSize)"]).checked()
        } else {
          // There is none unless another client left it.
          _ = try cluster.client.run(["ip", "route", "del"] + route)
        }
      }
    }

    @Test(arguments: Route.allCases, Client.all)
    func everyRuleHolds(_ route: Route, _ client: Client) throws {
      let cluster = try SuiteCluster.cluster()
      for endpoint in try route.endpoints(cluster) {
        try client.apply(in: cluster, to: endpoint)
        defer { #expect(throws: Never.self) { try Client.all[0].apply(in: cluster, to: endpoint) } }
        try expectClean {
          try captured(cluster, endpoint) { transfers in
            try transfers.get(TestSite.small) + transfers.get(TestSite.medium)
              + transfers.get(TestSite.small, TestSite.medium, TestSite.small)
              + transfers.post(TestSite.bytes(of: TestSite.medium))
          }
        } expecting: {
          $0.faults(expecting: client)
        }
      }
    }

    /// Rules of every connection hold each time. That nothing is sent twice is shown by one run of six: on a busy
    /// machine a peer may be stopped for longer than a tail loss probe waits (RFC 8985 section 7).
    private func expectClean(
      _ capture: () throws -> [ConnectionTrace], expecting faults: (ConnectionTrace) -> [String]
    ) throws {
      var repeated: [String] = []
      for _ in 0..<6 {
        let traces = try capture()
        for trace in traces {
          #expect(trace.violationsOfServer + faults(trace) == [], "\(trace.beginning)")
        }
        repeated = traces.flatMap { trace in
          trace.violations().isEmpty ? [] : ["\(trace.violations().prefix(3)): \(trace.beginning)"]
        }
        if repeated.isEmpty { return }
      }
      Issue.record("sent again in six runs of six: \(repeated.joined(separator: "\n"))")
    }

    /// Longer than a sender waits that has not measured the round-trip time: it must not send again.
    @Test(arguments: Route.allCases)
    func serverThatTakesItsTime(_ route: Route) throws {
      let cluster = try SuiteCluster.cluster()
      for endpoint in try route.endpoints(cluster) {
        try expectClean {
          try captured(cluster, endpoint) { try $0.slow() }
        } expecting: {
          $0.faults(expecting: Client.all[0])
        }
      }
    }

    /// 10 MB in each direction: user space on the distributor sees the handshake and the request's head.
    @Test(arguments: [0, 1])
    func nothingReachesUserSpaceAfterTheHandoff(_ family: Int) throws {
      let cluster = try SuiteCluster.cluster()
      let front = try Route.handoff.node(cluster)
      let endpoint = try Route.handoff.endpoints(cluster)[family]
      let bytes = cluster.site.content(of: TestSite.medium).bytes(from: 0, count: 10 << 20)
      try FileAccess.write(bytes, to: "\(cluster.documentRoot)/ten.bin")
      let digest = try Command.run(["sha256sum"], input: bytes).output.prefix(64)
      try Ledger.waitUntilStartIsCounted(cluster)
      let before = try cluster.metrics(of: front)
      // The server asks for the body after the handoff, so that no part of it comes too early.
      let result = try cluster.client.run(
        [
          "curl", "-sS", "-m", "30", "-w", "%{stderr}%{num_connects} ", "-H", "Expect: 100-continue",
          "--expect100-timeout", "20", "--data-binary", "@-", "http://\(endpoint)/app/digest",
          "--next", "-sS", "-m", "30", "-w", "%{stderr}%{num_connects}", "http://\(endpoint)/ten.bin",
        ], input: bytes)
      #expect(result.isSuccess && result.errorOutput == "1 0", "\(result.errorOutput)")
      #expect(result.standardOutput == Array("\(bytes.count) \(digest)\n".utf8) + bytes)
      let ledger = try Ledger(cluster)
      try ledger.waitUntilIdle()
      let after = try cluster.metrics(of: front).since(before)
      #expect(after["handoff_distributor_connections_total", ["outcome": "handed_off"]] == 1)
      // The head, and what the client may send in answer to the server before the distributor has heard that the server has
      // the connection: the initial window (RFC 6928) and acknowledgments.
      #expect((1...14).contains(after["handoff_distributor_packets_received_total"]))
      // The proof that the client's segments did pass this node.
      #expect(after["handoff_forwarding_packets_total", ["outcome": "forwarded"]] > 10_000_000 / 1460)
    }

    private func captured(
      _ cluster: Cluster, _ endpoint: Endpoint, _ body: (Transfers) throws -> [String]
    ) throws -> [ConnectionTrace] {
      let capture = try Capture(
        in: cluster.client, filter: "tcp port \(endpoint.port)",
        file: "\(cluster.run.folder)/capture-\(MonotonicTime.now()).pcap")
      #expect(try body(Transfers(cluster: cluster, endpoint: endpoint)) == [])
      return ConnectionTrace.connections(in: try capture.stop(), servicePort: endpoint.port)
    }
  }
}

extension ConnectionTrace {
  /// Without what only the client's own kernel decides: with little memory Linux takes back window.
  fileprivate var violationsOfServer: [String] {
    violations(allowingRetransmissions: true).filter { !$0.contains("of the client: the window shrinks") }
  }

  /// The first segments, for people.
  fileprivate var beginning: String {
    let start = segments.first
    let lines = segments.prefix(150).map { captured in
      let own = isFromClient(captured) ? fromClient.first : toClient.first
      let offset = own.map { $0.segment.sequence.distance(to: captured.segment.sequence) } ?? 0
      let peer = isFromClient(captured) ? toClient.first : fromClient.first
      let acknowledged = peer.map { $0.segment.sequence.distance(to: captured.segment.acknowledgment) } ?? 0
      return "\((captured.time - (start?.time ?? 0)) / 1000) us \(isFromClient(captured) ? ">" : "<") "
        + "\(offset)+\(captured.payload) ack \(acknowledged) win \(captured.segment.window)"
    }
    return "\n" + lines.joined(separator: "\n")
  }

  /// What the client's offer must lead to, and what `violations` leaves open.
  fileprivate func faults(expecting client: IntegrationTests.WireTraceTests.Client) -> [String] {
    guard let offer = fromClient.first?.segment.options, let answer = toClient.first?.segment.options else {
      return ["no handshake"]
    }
    var faults: [String] = []
    for (side, options) in [("offer", offer), ("answer", answer)] {
      if (options.timestamps != nil) != client.timestamps { faults.append("timestamps in the \(side)") }
      if options.sackPermitted != client.selective { faults.append("SACK permission in the \(side)") }
      if (options.windowScale != nil) != client.windowScaling { faults.append("window scale in the \(side)") }
    }
    if let size = client.segmentSize, offer.maximumSegmentSize != size { faults.append("the offered segment size") }
    for (name, side, limit) in [
      ("server", toClient, offer.maximumSegmentSize), ("client", fromClient, answer.maximumSegmentSize),
    ] {
      // The options of a segment count as part of what the MSS allows (RFC 6691).
      let options = client.timestamps ? 12 : 0
      let largest = side.map { $0.payload > 0 ? $0.payload + options : 0 }.max() ?? 0
      if largest > Int(limit ?? 0) { faults.append("\(largest) bytes in a segment of the \(name)") }
      var last: SequenceNumber?
      for segment in side.map(\.segment) where segment.flags.contains(.ack) {
        if let last, segment.acknowledgment < last { faults.append("an acknowledgment of the \(name) goes back") }
        last = segment.acknowledgment
      }
    }
    let shift = client.windowScaling ? answer.windowScale ?? 0 : 0
    let windows = toClient.filter { !$0.segment.flags.contains(.syn) && !$0.segment.flags.contains(.rst) }
    // A server that reads an upload slowly may close its window.
    let mayClose = bytes(fromClient: true) > 14_600
    for captured in windows where captured.segment.window == 0 && !mayClose {
      faults.append("zero window at \(captured.time)")
    }
    // Room for the first flight of RFC 6928 at once.
    if let first = windows.first, Int(first.segment.window) << Int(shift) < 14_600 {
      faults.append("a first window of \(Int(first.segment.window) << Int(shift)) bytes")
    }
    return faults
  }
}
