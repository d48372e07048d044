// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import LinuxKernel
import Wire

/// The ways of packets out of a worker: answers to clients, and clients' packets to back-ends.
struct Delivery: ~Copyable {
  var sender: RawPacketSender
  private let packetSocket: PacketSocket
  /// The packets are as the kernel holds them inside, not as a wire carries them.
  private let splits: Bool
  private var splitter = PacketSplitter()

  /// Of the clients' network; a client's segments are no longer, since that is what its SYN was answered with.
  private static let limit = 1500

  init(sender: consuming RawPacketSender, packetSocket: consuming PacketSocket, splits: Bool) {
    self.sender = sender
    self.packetSocket = packetSocket
    self.splits = splits
  }

  /// Sends a client's packet the way the kernel would have: to a back-end's Ethernet address, or to this node's own TCP.
  /// A packet that is not taken is lost as on any link: the client repeats it.
  mutating func send(_ packet: Span<UInt8>, to mac: MACAddress?) {
    guard splits else {
      sendOne(packet, to: mac)
      return
    }
    // Taken out, since splitting mutates it while sending mutates the rest.
    var splitter = PacketSplitter()
    swap(&splitter, &self.splitter)
    splitter.split(packet, limit: Delivery.limit) { sendOne($0, to: mac) }
    swap(&splitter, &self.splitter)
  }

  private mutating func sendOne(_ packet: Span<UInt8>, to mac: MACAddress?) {
    if let mac {
      _ = try? packetSocket.send(packet, to: mac)
    } else {
      let only = [0..<packet.count]
      _ = sender.send(only.span, of: packet)
    }
  }
}
