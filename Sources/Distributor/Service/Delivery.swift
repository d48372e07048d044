// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import ForwardingPlane
import LinuxKernel
import Wire

/// The ways of packets out of a worker: answers to clients, and clients' packets to back-ends.
struct Delivery: ~Copyable {
  var sender: RawPacketSender
  private let packetSocket: PacketSocket
  private let tunnelSocket: DatagramSocket
  /// The packets are as the kernel holds them inside, not as a wire carries them.
  private let splits: Bool
  private var splitter = PacketSplitter()

  /// The longest packet that is sent on. Joined segments are cut to what leaves room for a tunnel's headers.
  private static let limit = 1400

  init(
    sender: consuming RawPacketSender, packetSocket: consuming PacketSocket, tunnelSocket: consuming DatagramSocket,
    splits: Bool
  ) {
    self.sender = sender
    self.packetSocket = packetSocket
    self.tunnelSocket = tunnelSocket
    self.splits = splits
  }

  /// Sends a client's packet the way the kernel would have. A packet that is not taken is lost as on any link: the client
  /// repeats it.
  mutating func send(_ packet: Span<UInt8>, by reach: FlowEntry.Action, tunnels: TunnelTable) {
    guard splits else {
      sendOne(packet, by: reach, tunnels)
      return
    }
    // Taken out, since splitting mutates it while sending mutates the rest.
    var splitter = PacketSplitter()
    swap(&splitter, &self.splitter)
    splitter.split(packet, limit: Delivery.limit) { sendOne($0, by: reach, tunnels) }
    swap(&splitter, &self.splitter)
  }

  private mutating func sendOne(_ packet: Span<UInt8>, by reach: FlowEntry.Action, _ tunnels: TunnelTable) {
    switch reach {
    case .deliverLocally:
      let only = [0..<packet.count]
      _ = sender.send(only.span, of: packet)
    case .forward(let mac):
      _ = try? packetSocket.send(packet, to: mac)
    case .tunnel(let number):
      guard let tunnel = tunnels[number] else { return }
      _ = try? tunnelSocket.send(packet, to: Endpoint(tunnel.node, Tunnel.port))
    }
  }
}
