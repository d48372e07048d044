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
  private var packet: [UInt8] = Array(repeating: 0, count: HandoffPacket.limit)

  /// Of the clients' network; a client's segments are no longer, since that is what its SYN was answered with.
  private static let limit = 1500

  init(
    sender: consuming RawPacketSender, packetSocket: consuming PacketSocket, tunnelSocket: consuming DatagramSocket,
    tunnels: TunnelTable, splits: Bool
  ) {
    self.sender = sender
    self.packetSocket = packetSocket
    self.tunnelSocket = tunnelSocket
    self.tunnels = tunnels
    self.splits = splits
  }

  /// Sends a client's packet the way the kernel would have. A packet that is not taken is lost as on any link: the client
  /// repeats it.
  mutating func send(_ packet: Span<UInt8>, by reach: FlowEntry.Action) {
    guard splits else {
      sendOne(packet, by: reach)
      return
    }
    // Taken out, since splitting mutates it while sending mutates the rest.
    var splitter = PacketSplitter()
    swap(&splitter, &self.splitter)
    splitter.split(packet, limit: limit(of: reach)) { sendOne($0, by: reach) }
    swap(&splitter, &self.splitter)
  }

  /// Sends a handoff as one packet. False when the kernel did not take it.
  mutating func send(
    _ handoff: HandoffPacket, _ request: Span<UInt8>, _ offer: PacketHandoffOffer, to node: IPAddress
  ) -> Bool {
    var bytes = packet.mutableSpan
    let count = handoff.emit(request: request, key: offer.key, into: &bytes)
    let whole = packet
    return (try? tunnelSocket.send(whole.span.extracting(0..<count), to: Endpoint(node, offer.port))) ?? false
  }

  private func limit(of reach: FlowEntry.Action) -> Int {
    guard case .tunnel(let number) = reach, let tunnel = tunnels[number] else { return Delivery.limit }
    return Delivery.limit - Tunnel.overhead(overIPv4: tunnel.node.isIPv4)
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
