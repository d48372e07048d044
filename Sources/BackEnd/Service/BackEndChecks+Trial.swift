// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ForwardingPlane
import Glibc
import Handoff
import LinuxKernel
public import NodeChecks
import Telemetry
import Wire

extension BackEndChecks {
  /// What is tried: whole handoffs to a listener of our own, directly and by the relay's way.
  ///
  /// The calling thread must be in a `TrialNamespace`.
  public static func trials(_ configuration: BackEndConfiguration) -> [DoctorFinding] {
    do throws(SystemError) {
      var trial = try Trial(configuration)
      return trials(configuration, &trial)
    } catch {
      return [
        DoctorFinding(
          .backEnd, "trials",
          .missing(
            "The agent's rules and settings cannot be made: \(error)", remedy: "Run as root, with /proc/sys writable"))
      ]
    }
  }

  private static func trials(_ configuration: BackEndConfiguration, _ trial: inout Trial) -> [DoctorFinding] {
    var findings = [
      needed("TCP_REPAIR", "a connection was recreated and ended") { () throws(SystemError) in try trial.recreate() },
      needed("IP_TRANSPARENT", "a listener here saw the client's address") { () throws(SystemError) in
        try trial.connectAsClient()
      },
      trial.destroy(),
      optional(
        "membarrier", "works",
        loss: "a handoff that is refused waits 50 ms instead of as long as packets take",
        remedy: "Use a kernel with CONFIG_MEMBARRIER and without nohz_full"
      ) { () throws(SystemError) in try KernelBarrier.wait() },
    ]
    if configuration.acceptsTunnels { findings.append(tunnelExit()) }
    if configuration.serve != .repair { findings += trial.serveDirectly() }
    return findings
  }

  private static func needed(
    _ check: String, _ found: String, _ body: () throws(SystemError) -> Void
  ) -> DoctorFinding {
    do throws(SystemError) {
      try body()
      return DoctorFinding(.backEnd, check, .ok(found))
    } catch {
      return DoctorFinding(
        .backEnd, check,
        .missing(
          "The kernel does not do it: \(error)",
          remedy: "Run as root, on a kernel with \(check) and a user namespace that owns the network namespace"))
    }
  }

  private static func optional(
    _ check: String, _ found: String, loss: String, remedy: String, _ body: () throws(SystemError) -> Void
  ) -> DoctorFinding {
    do throws(SystemError) {
      try body()
      return DoctorFinding(.backEnd, check, .ok(found))
    } catch {
      return DoctorFinding(.backEnd, check, .lost("\(error)", loss: loss, remedy: remedy))
    }
  }

  private static func tunnelExit() -> DoctorFinding {
    do throws(ForwardingPlaneError) {
      try TunnelExit.attach(interface: TrialNamespace.interface).detach()
      return DoctorFinding(.backEnd, "tunnels' end", .ok("the program was loaded, attached and removed"))
    } catch {
      return DoctorFinding(.backEnd, "tunnels' end", .missing(TunnelReception.explain(error)))
    }
  }
}

/// A listener of our own in an otherwise empty namespace, and connections to it.
private struct Trial: ~Copyable {
  private let configuration: BackEndConfiguration
  private let listener: StreamSocket
  private var diagnostics: NetlinkSocket
  /// An address that is not the namespace's own (RFC 5737): only the agent's rule leads answers back.
  private let stranger = Endpoint(IPAddress(ipv4: 0xc000_0209), 40_009)
  private let client = Endpoint(IPAddress(ipv4: 0x7f00_0008), 40_008)
  private let service = Endpoint(IPAddress(ipv4: 0x7f00_0009), 80)

  init(_ configuration: BackEndConfiguration) throws(SystemError) {
    for (key, value) in NodeNetwork.settings(interface: TrialNamespace.interface) { try Sysctl.write(key, value) }
    var netlink = try NetlinkSocket(.route)
    guard let loopback = try netlink.interface(named: "lo") else {
      throw SystemError("RTM_GETLINK", "lo", errno: ENODEV)
    }
    try NodeNetwork.addRoute(configuration, isIPv4: true, loopback: loopback.index, &netlink)
    let listener = try StreamSocket.listen(at: configuration.server(isIPv4: true))
    let diagnostics = try NetlinkSocket(.socketDiagnostics)
    self.configuration = configuration
    self.listener = listener
    self.diagnostics = diagnostics
  }

  mutating func recreate() throws(SystemError) {
    do throws(TCPRepair.Failure) {
      let socket = try TCPRepair.restore(
        TCPRepair.Connection(
          local: service, remote: client, sendNext: SequenceNumber(1000), receiveNext: SequenceNumber(2000),
          sendWindow: 65_535, receiveWindow: 65_535, maximumSegmentSize: 1460, sendShift: 7, receiveShift: 7,
          sackPermitted: true, timestamp: 4000))
      TCPRepair.closeSilently(socket)
    } catch {
      throw error.error.on("step \(error.step)")
    }
  }

  /// As the relay does.
  mutating func connectAsClient() throws(SystemError) {
    let attempt = try TransparentSocket.connect(from: stranger, to: configuration.server(isIPv4: true))
    guard attempt.progress == .established, let accepted = try listener.accept(), accepted.peer == stranger
    else {
      throw SystemError("connect", "\(stranger) to \(configuration.server(isIPv4: true))", errno: ETIMEDOUT)
    }
  }

  /// Ends a connection of our own, as the agent ends those that are in the way of a new one.
  mutating func destroy() -> DoctorFinding {
    let check = "SOCK_DESTROY"
    do throws(SystemError) {
      let server = configuration.server(isIPv4: true)
      let socket = try StreamSocket(familyOf: server.address)
      try socket.connect(to: server)
      guard let found = try diagnostics.tcpSocket(local: try socket.localEndpoint(), remote: server) else {
        throw SystemError("SOCK_DIAG_BY_FAMILY", errno: ENOENT)
      }
      try diagnostics.destroy(found)
      return DoctorFinding(.backEnd, check, .ok("a connection was found and ended"))
    } catch {
      return DoctorFinding(
        .backEnd, check,
        .lost(
          "\(error)",
          loss:
            "a client that dials again from a port whose last connection is in TIME_WAIT here goes to another node, "
            + "and one that the distributor gave up is served to its end",
          remedy: "Use a kernel with CONFIG_INET_DIAG and CONFIG_INET_DIAG_DESTROY"))
    }
  }

  /// Loads and attaches the serving program and gives our listener a connection, as a handoff does.
  func serveDirectly() -> [DoctorFinding] {
    let check = "serving directly"
    do throws(ServePlaneError) {
      let plane = try DirectSetup.attach(configuration, interface: TrialNamespace.interface, loops: 1)
      defer { plane.detach() }
      try plane.setServices([service])
      try handOver(plane)
      let found = DoctorFinding(.backEnd, check, .ok("a listener here accepted a connection that was handed to it"))
      return configuration.acceptsPackets ? [found, takePacket(plane)] : [found]
    } catch {
      return [
        DoctorFinding(
          .backEnd, check, found: "", problem: error.problem, isNeeded: configuration.serve == .direct,
          loss: BackEndChecks.relayed, remedy: error.remedy)
      ]
    }
  }

  /// As it comes from a distributor: the kernel takes it without us.
  private func takePacket(_ plane: ServePlane) -> DoctorFinding {
    let check = "handoffs by packet"
    do throws(ServePlaneError) {
      try handOverByPacket(plane)
      return DoctorFinding(
        .backEnd, check, .ok("a listener here accepted a connection that came in one datagram"))
    } catch {
      return DoctorFinding(
        .backEnd, check,
        .lost(
          error.problem, loss: "each connection comes as a message, for which agent and distributor are woken",
          remedy: error.remedy))
    }
  }

  private static let request = Array("GET / HTTP/1.1\r\n\r\n".utf8)

  private func snapshot(_ client: Endpoint) -> TCPSnapshot {
    TCPSnapshot(
      flow: FlowTuple(client: client, service: service), sendNext: SequenceNumber(1000),
      receiveNext: SequenceNumber(2000),
      clientInitialSequence: SequenceNumber(1999).advanced(by: -Trial.request.count), sendWindow: 65_535,
      receiveWindow: 60_000, maximumSegmentSize: 1460, windowScale: TCPSnapshot.WindowScale(send: 7, receive: 7),
      sackPermitted: true, timestamps: TCPSnapshot.Timestamps(nextValue: 4000, recent: 3000))
  }

  private func handOver(_ plane: ServePlane) throws(ServePlaneError) {
    try expect(snapshot(client), origin: 0, at: plane) { installer, snapshot throws(SystemError) in
      try installer.inject(snapshot, Trial.request, token: 1, .new)
    }
  }

  private func handOverByPacket(_ plane: ServePlane) throws(ServePlaneError) {
    let (port, key) = (plane.configuration.packetPort, plane.configuration.packetKey)
    let sender = Endpoint(IPAddress(ipv4: 0x7f00_000a), 0)
    try expect(snapshot(Endpoint(client.address, client.port + 1)), origin: 1, at: plane) {
      installer, snapshot throws(SystemError) in
      installer.ring.promiseToLive(until: MonotonicTime.now() + 2_000_000_000)
      let handoff = HandoffPacket(origin: 1, id: HandoffID(1), loop: 0, snapshot: snapshot)
      var payload = [UInt8](repeating: 0, count: HandoffPacket.limit)
      var span = payload.mutableSpan
      let count = handoff.emit(request: Trial.request.span, key: key, into: &span)
      let socket = try DatagramSocket(from: sender.address)
      _ = try socket.send(payload.span.extracting(0..<count), to: Endpoint(service.address, port))
    }
  }

  /// Waits until the listener has the connection that `send` makes, and the kernel has told of it.
  private func expect(
    _ snapshot: TCPSnapshot, origin: UInt64, at plane: ServePlane,
    _ send: (DirectInstaller, TCPSnapshot) throws(SystemError) -> Void
  ) throws(ServePlaneError) {
    do throws(SystemError) {
      let installer = try DirectInstaller(plane, DirectFamilies(), loop: 0)
      try send(installer, snapshot)
      let deadline = MonotonicTime.now() + 1_000_000_000
      var epoll = try Epoll(capacity: 1)
      try epoll.add(listener.raw, .read, token: 0)
      while MonotonicTime.now() < deadline {
        if let accepted = try listener.accept() {
          guard accepted.peer == snapshot.flow.client, try accepted.socket.localEndpoint() == service else { continue }
          while let event = installer.ring.next() {
            if event.token == 1, event.origin == origin, case .established = event.kind { return }
          }
          break
        }
        _ = epoll.wait(until: deadline)
      }
    } catch {
      throw ServePlaneError(
        "a connection could not be handed over: \(error)", remedy: "Run as root on Linux 6.9 or later")
    }
    let result = plane.pending.result(of: snapshot.flow).map { "\($0)" } ?? "accepted, but not told"
    throw ServePlaneError(
      "the kernel did not give a connection to a listener here (\(result))",
      remedy: "Use Linux 6.9 or later with CONFIG_SYN_COOKIES and CONFIG_BPF_EVENTS")
  }
}
