// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import Glibc
import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// A server node whose kernel takes handoffs by packet: the serving plane at an interface, two event loops, of which the
/// first takes handoffs, and the sockets that a test makes.
final class ServeHandoffBench {
  let interface: TestInterface
  let plane: ServePlane
  /// Of the first loop.
  let ring: EventRing
  private let program: SharedDescriptor

  static let port: UInt16 = 7801
  static let serverPort: UInt16 = 8080
  static let key = HandoffPacketKey(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210)
  static let origin: UInt64 = 0xd157_0000_0000_0001
  static let id = HandoffID(slot: 7, generation: 2)
  static let request: [UInt8] = Array("GET / HTTP/1.1\r\n\r\n".utf8)

  init(packetPort: UInt16 = port) throws {
    interface = try TestInterface()
    let commands = [
      "sysctl -qw net.ipv6.conf.d0.disable_ipv6=0", "ip address add 203.0.113.80/32 dev lo",
      "ip -6 address add 2001:db8:0:2::80/128 dev lo nodad", "ip route add 192.0.2.0/24 dev d0",
      "ip -6 route add 2001:db8:0:1::/64 dev d0",
    ]
    for command in commands {
      try interface.namespace.run(command.split(separator: " ").map(String.init)).checked()
    }
    (plane, program) = try interface.namespace.perform {
      let plane = try ServePlane.attach(
        ServePlaneConfiguration(
          interface: "d0", serverPort: Self.serverPort, serverAddressIPv4: IPAddress("127.0.0.1")!,
          serverAddressIPv6: IPAddress("::1")!, loops: 2, packetPort: packetPort, packetKey: Self.key))
      try plane.setServices([Addresses.service4, Addresses.service6])
      let number = try TrafficHook(interface: "d0", place: .serving).attachedProgram() ?? 0
      let raw = try LibBPF.call("bpf_prog_get_fd_by_id") { bpf_prog_get_fd_by_id(number) }
      return (plane, SharedDescriptor(OwnedDescriptor(owning: raw)))
    }
    ring = try plane.ring(0)
    ring.promiseToLive(until: MonotonicTime.now() + 600_000_000_000)
  }

  deinit {
    let plane = self.plane
    try? interface.namespace.perform { plane.detach() }
  }

  /// The web server, at the loopback address of both families.
  func listen() throws -> [Listener] {
    try interface.namespace.perform {
      try ["127.0.0.1", "::1"].map { try Listener(Endpoint(IPAddress($0)!, Self.serverPort)) }
    }
  }

  final class Listener: Sendable {
    let socket: StreamSocket
    init(_ endpoint: Endpoint, backlog: Int32 = 1024) throws {
      socket = try StreamSocket.listen(at: endpoint, backlog: backlog)
    }
  }

  /// An established connection of this node, made without a packet.
  func connect(_ flow: FlowTuple) throws -> OwnedDescriptor {
    try interface.namespace.perform {
      OwnedDescriptor(
        owning: try TCPRepair.restore(
          TCPRepair.Connection(
            local: flow.service, remote: flow.client, sendNext: SequenceNumber(77), receiveNext: SequenceNumber(5000),
            sendWindow: 65_535, receiveWindow: 65_535, maximumSegmentSize: 1440, sendShift: 0, receiveShift: 0,
            sackPermitted: false, timestamp: nil)
        ).intoRaw())
    }
  }

  /// What the program does with frames that come in by the interface, by the kernel's test run, and every outcome that it
  /// counts for each.
  func run(_ frames: [Frame]) throws -> [(run: ProgramRun, outcomes: [ServeOutcome])] {
    let (program, plane, index) = (self.program, self.plane, interface.index)
    return try interface.namespace.perform {
      var before = plane.counters()
      return try frames.map { frame in
        let run = try ProgramRun(program, frame, interface: index)
        let after = plane.counters()
        defer { before = after }
        return (run, ServeOutcome.allCases.flatMap { Array(repeating: $0, count: Int(after[$0] - before[$0])) })
      }
    }
  }

  func run(_ frame: Frame) throws -> (run: ProgramRun, outcomes: [ServeOutcome]) { try run([frame])[0] }

  /// Puts a frame on the cable.
  func send(_ frame: Frame) throws { try interface.namespace.perform { try RawLink("d1").send(frame) } }

  /// Takes the program's record of a socket away.
  func forgetRecord(of socket: Int32) throws {
    var (number, socket, removed): (UInt32, Int32, Int) = (0, socket, 0)
    // Of all maps in the kernel one has something of this socket.
    while unsafe bpf_map_get_next_id(number, &number) == 0 {
      let raw = bpf_map_get_fd_by_id(number)
      if raw < 0 { continue }
      let map = OwnedDescriptor(owning: raw)
      var (info, length) = (bpf_map_info(), UInt32(MemoryLayout<bpf_map_info>.size))
      guard unsafe bpf_obj_get_info_by_fd(map.raw, &info, &length) == 0, info.type == BPF_MAP_TYPE_SK_STORAGE.rawValue,
        unsafe bpf_map_delete_elem(map.raw, &socket) == 0
      else { continue }
      removed += 1
    }
    #expect(removed == 1)
  }

  /// Puts the entry of the handoff there again.
  func enter(_ flow: FlowTuple, result: serve_result) throws {
    var key = serve_key(flow)
    var value = serve_pending()
    (value.token, value.origin, value.result) = (Self.id.rawValue, Self.origin, UInt8(result.rawValue))
    _ = try LibBPF.call("bpf_map_update_elem") {
      unsafe bpf_map_update_elem(plane.pending.map.raw, &key, &value, 0)
    }
  }

  func wait(within seconds: Double = 5, until done: (ServeCounters) -> Bool) -> Bool {
    let deadline = MonotonicTime.now() + UInt64(seconds * 1e9)
    while MonotonicTime.now() < deadline {
      if done(plane.counters()) { return true }
      sched_yield()
    }
    return false
  }
}

/// A handoff as it travels: one family outside, one inside.
struct HandoffFrame: Sendable, Hashable, CustomTestStringConvertible {
  var overIPv4: Bool
  var isIPv4: Bool

  static let all = [true, false].flatMap { outer in [true, false].map { HandoffFrame(overIPv4: outer, isIPv4: $0) } }

  var testDescription: String { "IPv\(isIPv4 ? 4 : 6) over IPv\(overIPv4 ? 4 : 6)" }
  var flow: FlowTuple { isIPv4 ? Addresses.flow4 : Addresses.flow6 }
  /// Where the handoff's own header begins, and where the request's.
  var header: Int { Frame.ipStart + (overIPv4 ? 28 : 48) }
  var inner: Int { header + HandoffPacket.headerLength }
  var tcp: Int { inner + (isIPv4 ? 20 : 40) }

  func payload(
    id: HandoffID = ServeHandoffBench.id, loop: UInt8 = 0, request: [UInt8] = ServeHandoffBench.request,
    key: HandoffPacketKey = ServeHandoffBench.key, _ change: (inout TCPSnapshot) -> Void = { _ in }
  ) -> [UInt8] {
    var snapshot = TCPSnapshot(
      flow: flow, sendNext: SequenceNumber(77), receiveNext: SequenceNumber(5000).advanced(by: request.count),
      clientInitialSequence: SequenceNumber(4999), sendWindow: 65_535, receiveWindow: 60_000, maximumSegmentSize: 1440,
      windowScale: .init(send: 7, receive: 7), sackPermitted: true, timestamps: .init(nextValue: 500, recent: 100))
    change(&snapshot)
    let packet = HandoffPacket(origin: ServeHandoffBench.origin, id: id, loop: loop, snapshot: snapshot)
    var bytes = [UInt8](repeating: 0, count: packet.length(requestBytes: request.count))
    var span = bytes.mutableSpan
    _ = packet.emit(request: request.span, key: key, into: &span)
    return bytes
  }

  func frame(_ payload: [UInt8], port: UInt16 = ServeHandoffBench.port) -> Frame {
    let outer = Frame.outer(
      from: IPAddress(overIPv4 ? "192.0.2.254" : "2001:db8:0:1::254")!,
      to: IPAddress(overIPv4 ? "198.51.100.7" : "2001:db8:3::7")!, port: 50_000, destinationPort: port,
      payload: payload.count)
    return Frame.carrying(outer + payload)
  }

  /// A right one.
  var good: Frame { frame(payload()) }

  /// The request of a frame as if it had come by itself.
  func takenOut(_ frame: Frame) -> Frame { Frame.carrying(Array(frame.bytes[inner...])) }
}
