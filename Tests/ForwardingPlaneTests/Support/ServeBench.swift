// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import Handoff
import Lab
import LinuxKernel
import Wire

@testable import ForwardingPlane

/// The serving plane's programs in the kernel, with maps that a test fills, in a namespace whose sockets it makes. Nothing is
/// attached: frames come by the kernel's test run.
final class ServeBench: Sendable {
  let interface: TestInterface
  private let object: LoadedServeObject
  private let counterArray: ServeCounterArray

  /// The web server's port; clients dial 80.
  static let serverPort: UInt16 = 8080
  static let loopback4 = IPAddress("127.0.0.1")!
  static let loopback6 = IPAddress("::1")!

  /// Whose frame it is.
  enum Origin: Hashable, Sendable {
    /// It came in by the node's interface.
    case wire
    /// The agent put it on `lo`.
    case agent
  }

  init() throws {
    let interface = try ServeBench.node()
    object = try LoadedServeObject.load()
    counterArray = try ServeCounterArray(object.maps.counters)
    self.interface = interface
    for service in [Addresses.service4, Addresses.service6] { try serve(service) }
  }

  /// A server node's network: the served addresses are on `lo`.
  static func node() throws -> TestInterface {
    let interface = try TestInterface()
    let commands = [
      "ip address add 203.0.113.80/32 dev lo", "ip -6 address add 2001:db8:0:2::80/128 dev lo nodad",
      // There is a way to clients, and it is silent: nobody answers what they have not asked for with a reset.
      "ip route add local 192.0.2.0/24 dev lo", "ip -6 route add local 2001:db8:0:1::/64 dev lo",
      "iptables -A INPUT -d 192.0.2.0/24 -j DROP", "ip6tables -A INPUT -d 2001:db8:0:1::/64 -j DROP",
    ]
    for command in commands {
      try interface.namespace.run(command.split(separator: " ").map(String.init)).checked()
    }
    return interface
  }

  private func serve(_ service: Endpoint) throws {
    var key = serve_service_key(service)
    var server = serve_listener(
      address: serve_address(service.address.isIPv4 ? Self.loopback4 : Self.loopback6),
      port: Self.serverPort.bigEndian, zero: 0)
    _ = try LibBPF.call("bpf_map_update_elem") {
      unsafe bpf_map_update_elem(object.maps.services.raw, &key, &server, 0)
    }
  }

  var pending: PendingConnections { PendingConnections(map: object.maps.waiting, seen: object.maps.seen) }
  var counters: ServeCounters { counterArray.read() }

  func listen(at endpoint: Endpoint) throws -> StreamSocket {
    try interface.namespace.perform { try StreamSocket.listen(at: endpoint) }
  }

  /// An established connection of this node, made without a packet.
  func connect(_ flow: FlowTuple) throws -> StreamSocket {
    try interface.namespace.perform {
      try TCPRepair.restore(
        TCPRepair.Connection(
          local: flow.service, remote: flow.client, sendNext: SequenceNumber(77), receiveNext: SequenceNumber(5000),
          sendWindow: 65_535, receiveWindow: 65_535, maximumSegmentSize: 1440, sendShift: 0, receiveShift: 0,
          sackPermitted: false, timestamp: nil))
    }
  }

  /// Resets to the client of this flow are dropped.
  func silence(_ flow: FlowTuple) throws {
    var key = serve_key(flow)
    var one: UInt32 = 1
    _ = try LibBPF.call("bpf_map_update_elem") {
      unsafe bpf_map_update_elem(object.maps.silenced.raw, &key, &one, 0)
    }
  }

  static let packetKey = HandoffPacketKey(0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00)
  static let packetPort: UInt16 = 7001

  /// Takes handoffs by packet for loop 0.
  ///
  /// - Parameter isAlive: the loop says that it lives.
  func takePackets(port: UInt16 = packetPort, isAlive: Bool = true) throws {
    var (zero, settings, attention) = (UInt32(0), serve_settings(), serve_attention())
    settings.key = (Self.packetKey.first, Self.packetKey.second)
    settings.packet_port = port.bigEndian
    settings.loops = 1
    attention.alive = isAlive ? MonotonicTime.now() + 60_000_000_000 : 0
    _ = try LibBPF.call("bpf_map_update_elem") {
      unsafe bpf_map_update_elem(object.maps.settings.raw, &zero, &settings, 0)
    }
    _ = try LibBPF.call("bpf_map_update_elem") {
      unsafe bpf_map_update_elem(object.maps.watching.raw, &zero, &attention, 0)
    }
  }

  /// As many other connections wait as can wait at all.
  func fillWaiting() throws {
    for number in 0..<Int(SERVE_MAX_PENDING) {
      let client = Endpoint(IPAddress(ipv4: 0xc633_0000 | UInt32(number)), 40_000)
      try pending.insert(
        .sample(FlowTuple(client: client, service: Addresses.service4)), sequence: SequenceNumber(5000), token: 9,
        loop: 0,
        .new)
    }
  }

  /// What the ingress program did with a frame, and every outcome that it counted.
  func run(
    _ frame: Frame, from origin: Origin = .wire, segmentSize: UInt32 = 0
  ) throws -> (run: ProgramRun, outcomes: [ServeOutcome]) {
    let (before, program) = (counters, object.serve)
    let index: UInt32 = origin == .agent ? 1 : interface.index
    let run = try interface.namespace.perform {
      try ProgramRun(program, frame, interface: index, segmentSize: segmentSize)
    }
    let after = counters
    let outcomes = ServeOutcome.allCases.flatMap { outcome in
      Array(repeating: outcome, count: Int(after[outcome] - before[outcome]))
    }
    return (run, outcomes)
  }

  /// Many frames in one namespace entry.
  func run(_ frames: [(frame: Frame, origin: Origin)]) throws -> [(run: ProgramRun, outcomes: [ServeOutcome])] {
    let (program, array, wire) = (object.serve, counterArray, interface.index)
    return try interface.namespace.perform {
      var results: [(run: ProgramRun, outcomes: [ServeOutcome])] = []
      var before = array.read()
      for (frame, origin) in frames {
        let run = try ProgramRun(program, frame, interface: origin == .agent ? 1 : wire)
        let after = array.read()
        let outcomes = ServeOutcome.allCases.flatMap { Array(repeating: $0, count: Int(after[$0] - before[$0])) }
        results.append((run, outcomes))
        before = after
      }
      return results
    }
  }

  /// What the egress program did with a frame, and how many resets it counted as kept from clients.
  func runSilencer(_ frame: Frame) throws -> (run: ProgramRun, silenced: UInt64) {
    let (before, program, index) = (counters, object.silence, interface.index)
    let run = try interface.namespace.perform { try ProgramRun(program, frame, interface: index) }
    return (run, counters.silenced - before.silenced)
  }
}

extension Frame {
  /// The frame as it is on `lo`, whose address is all zero.
  var onLoopback: Frame { with(0, 0, 0, 0, 0, 0, at: 0) }
}

extension TCPSnapshot {
  /// Of a connection whose client has sent `requestBytes` from sequence number 5000 on, acknowledging 77: what `Frame.tcp`
  /// makes.
  static func sample(_ flow: FlowTuple, requestBytes: Int = 3, segmentSize: UInt16 = 1440) -> TCPSnapshot {
    TCPSnapshot(
      flow: flow, sendNext: SequenceNumber(77), receiveNext: SequenceNumber(5000).advanced(by: requestBytes),
      clientInitialSequence: SequenceNumber(4999), sendWindow: 65_535, receiveWindow: 60_000,
      maximumSegmentSize: segmentSize, windowScale: TCPSnapshot.WindowScale(send: 7, receive: 7), sackPermitted: true,
      timestamps: nil)
  }
}
