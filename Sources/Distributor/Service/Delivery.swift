// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DistributorCore
import ForwardingPlane
import Handoff
import LinuxKernel
import Wire

/// The ways of packets out of a worker: answers to clients, and clients' packets to back-ends.
struct Delivery: ~Copyable {
  var sender: RawPacketSender
  private let packetSocket: PacketSocket
  private let tunnelSocket: DatagramSocket
  private let tunnels: TunnelTable
  /// The packets are as the kernel holds them inside, not as a wire carries them.
  private let splits: Bool
  private var splitter = PacketSplitter()
  /// Of this node's datagrams.
  private let source: IPAddress
  private var packet: [UInt8] = Array(repeating: 0, count: 48 + HandoffPacket.limit)

  init(
    sender: consuming RawPacketSender, packetSocket: consuming PacketSocket, tunnelSocket: consuming DatagramSocket,
    tunnels: TunnelTable, source: IPAddress, splits: Bool
  ) {
    self.sender = sender
    self.packetSocket = packetSocket
    self.tunnelSocket = tunnelSocket
    self.tunnels = tunnels
    self.source = source
    self.splits = splits
  }

  /// Sends a client's packet the way the kernel would have. A packet that is not taken is lost as on any link: the client
  /// repeats it.
  mutating func send(_ packet: Span<UInt8>, by reach: FlowEntry.Action) {
    let limit = limit(of: reach)
    // What a queue gives is as on a wire, but may be longer than the way takes.
    guard splits || packet.count > limit else {
      sendOne(packet, by: reach)
      return
    }
    // Taken out, since splitting mutates it while sending mutates the rest.
    var splitter = PacketSplitter()
    swap(&splitter, &self.splitter)
    splitter.split(packet, limit: limit) { sendOne($0, by: reach) }
    swap(&splitter, &self.splitter)
  }

  /// Sends a handoff as one packet. False when the kernel did not take it, or it is too long for the way.
  mutating func send(
    _ handoff: HandoffPacket, _ request: Span<UInt8>, _ offer: PacketHandoffOffer, to node: IPAddress,
    by reach: FlowEntry.Action
  ) -> Bool {
    let isLocal = reach == .deliverLocally
    let isIPv4 = isLocal ? handoff.snapshot.flow.client.address.isIPv4 : node.isIPv4
    let isOwnFamily = isIPv4 == node.isIPv4
    // What goes through `lo` keeps its route, by which the kernel treats the request inside as well: it has to be one of the
    // client's family.
    let loopback = isIPv4 ? IPAddress(ipv4: 0x7f00_0001) : IPAddress(high: 0, low: 1)
    let from = Endpoint(isOwnFamily ? source : loopback, offer.port)
    let destination = Endpoint(isOwnFamily ? node : loopback, offer.port)
    let headers = DatagramHeaders.length(isIPv4: isIPv4)
    if case .tunnel(let number) = reach {
      guard let tunnel = tunnels[number],
        headers + handoff.length(requestBytes: request.count) <= tunnel.mtu
      else { return false }
    }
    let total = packet.count
    let count: Int
    do {
      var all = packet.mutableSpan
      var payload = all._mutatingExtracting(headers..<total)
      count = handoff.emit(request: request, key: offer.key, into: &payload)
      DatagramHeaders.emit(from: from, to: destination, payload: count, into: &all)
    }
    let whole = packet
    // A neighbour is reached by the same frames as with its flows' packets, which spares the kernel's way through routes
    // and filters for each.
    if case .forward(let mac) = reach {
      return (try? packetSocket.send(whole.span.extracting(0..<headers + count), to: mac)) == .sent
    }
    if !isOwnFamily {
      let only = [0..<headers + count]
      return sender.send(only.span, of: whole.span) == 1
    }
    return (try? tunnelSocket.send(whole.span.extracting(headers..<headers + count), to: destination)) ?? false
  }

  private func limit(of reach: FlowEntry.Action) -> Int {
    guard case .tunnel(let number) = reach, let tunnel = tunnels[number] else { return ReachFinder.longestPacket }
    return min(ReachFinder.longestPacket, tunnel.room)
  }

  private mutating func sendOne(_ packet: Span<UInt8>, by reach: FlowEntry.Action) {
    switch reach {
    case .deliverLocally:
      let only = [0..<packet.count]
      _ = sender.send(only.span, of: packet)
    case .forward(let mac): _ = try? packetSocket.send(packet, to: mac)
    case .tunnel(let number):
      guard let tunnel = tunnels[number] else { return }
      _ = try? tunnelSocket.send(packet, to: Endpoint(tunnel.node, Tunnel.port))
    }
  }
}
