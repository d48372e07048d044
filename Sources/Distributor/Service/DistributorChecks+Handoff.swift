// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DistributorCore
import ForwardingPlane
import Handoff
import LinuxKernel
import NodeChecks
import Wire

/// Whether this node can hand connections off by packet, and its kernel by itself: tried with a client of our own.
extension DistributorChecks {
  private static let client = Endpoint(IPAddress(ipv4: 0x7f00_0008), 40_008)
  private static let service = Endpoint(IPAddress(ipv4: 0x7f00_0009), 80)
  private static let node = IPAddress(ipv4: 0x7f00_000a)
  private static let patience: UInt64 = 1_000_000_000

  /// The sockets that workers send handoffs by.
  static func packetSockets(interface: UInt32) -> DoctorFinding {
    do throws(SystemError) {
      _ = try PacketSocket(interface: interface)
      _ = try DatagramSocket(from: node)
      return DoctorFinding(.distributor, "handoffs by packet", .ok("a packet socket and a UDP socket were opened"))
    } catch {
      return DoctorFinding(
        .distributor, "handoffs by packet",
        .missing("\(error)", remedy: "Run as root or with CAP_NET_RAW, on a kernel with CONFIG_PACKET"))
    }
  }

  /// A connection is made over `lo` and asks for a page, with the program attached there and a lease of our own in it.
  static func kernelHandoff(_ plane: borrowing ForwardingPlane, interface: UInt32) -> DoctorFinding {
    let check = "handoffs by the kernel"
    let problem: String
    do {
      let stage = try handOff(plane, interface: interface)
      guard let stage else {
        return DoctorFinding(
          .distributor, check, .ok("a request of a client here was answered and handed off without this process"))
      }
      problem = stage
    } catch {
      problem = "A connection over lo failed: \(error)"
    }
    return DoctorFinding(
      .distributor, check,
      .lost(
        problem, loss: "every connection wakes the distributor, which takes several times as much processor time",
        remedy: "Use Linux 6.6 or later with CONFIG_NET_CLS_BPF, and look for other programs at the interface"))
  }

  /// Returns what did not happen, nil when all did.
  private static func handOff(_ plane: borrowing ForwardingPlane, interface: UInt32) throws -> String? {
    try plane.setServices([service])
    let ring = try plane.handshake.openRing(worker: 0, size: 1 << 16)
    _ = DistributorService.drawKeys(plane.handshake)
    let now = MonotonicTime.now()
    let later = now + 10 * patience
    plane.handshake.keepAlive(worker: 0, until: later)
    let sizes = SegmentSizes(longestPacket: ReachFinder.longestPacket)
    plane.handshake.apply(
      HandshakePlan(
        answersInKernel: true, usesRings: true, workers: 1, segmentSizeIPv4: sizes.ipv4, segmentSizeIPv6: sizes.ipv6,
        window: 65_535, windowScale: 7, targetKey: TargetHash.key))
    let lender = plane.leases.lender(worker: 0, origin: 1)
    defer { lender.close() }
    // Not by Ethernet address: on `lo` the program would meet the packets that it has sent again and again.
    let tunnel = Tunnel(node: node, source: client.address, interface: interface)
    let offer = PacketHandoffOffer(
      port: 7001, key: HandoffPacketKey(1, 2), loop: 0, takesIPv4: true, takesIPv6: false)
    lender.setNode(
      0,
      LeaseNode(
        offer: offer, reach: .tunnel(try plane.tunnels.number(of: tunnel, now: now)), tunnel: tunnel))
    lender.setTarget(TargetHash.key.hash(Array("/".utf8).span), backEnd: 0, until: later)
    lender.lend(1, of: 0, term: 1, until: later)

    let socket = try StreamSocket(familyOf: client.address)
    try socket.bind(to: client)
    try socket.connect(to: service)
    var epoll = try Epoll(capacity: 1)
    try epoll.add(socket.raw, .write, token: 0)
    guard epoll.wait(until: now + patience) > 0, socket.pendingError() == nil else {
      return "The program at lo did not answer a handshake"
    }
    try epoll.remove(socket.raw)
    try epoll.add(ring.descriptor, .read, token: 1)
    let request = Array("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8)
    _ = try socket.write(request.span)
    _ = epoll.wait(until: MonotonicTime.now() + patience)
    try plane.setServices([])
    if plane.counters()[.handedOff] == 1 { return nil }
    return "The program at lo answered a handshake and did not hand the connection off"
  }
}
