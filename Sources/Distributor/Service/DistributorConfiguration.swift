// SPDX-License-Identifier: Apache-2.0

public import Wire

/// Who answers handshakes.
public enum HandshakeMode: String, Sendable, Hashable, CaseIterable {
  /// The kernel's program where it can, else user space.
  case auto
  /// The kernel's program; it is an error when it cannot.
  case kernel
  /// The worker's responder.
  case user
}

/// How client packets come to user space.
public enum PacketPath: String, Sendable, Hashable, CaseIterable {
  /// By ring where it can be had, else by queue.
  case auto
  /// Copied by the kernel's program into a BPF ring buffer for each worker.
  case ring
  /// NFQUEUE, by netfilter rules.
  case queue
}

/// Where packets of handed-off connections are forwarded.
public enum ForwardingMode: String, Sendable, Hashable, CaseIterable {
  /// At the interface's driver where that is faster and the device's settings allow it, else at tc ingress.
  case auto
  /// At tc ingress.
  case tc
  /// At the driver (native XDP); it is an error when that cannot be.
  case xdp
}

/// What a distributor needs to know to run.
public struct DistributorConfiguration: Sendable, Hashable {
  /// Unique in the cluster.
  public var nodeName: String
  /// The node's address for control connections; never one of `services`.
  public var internalAddress: IPAddress
  /// The interface on which clients' packets arrive and from which they are forwarded to back-ends.
  public var interface: String
  /// Addresses and ports that clients dial. An address that the interface lacks is added and removed at the end.
  public var services: [Endpoint]
  public var dispatcher: Endpoint
  /// Event loops, each with a ring or queue of its own; 1 to 64.
  public var workers: Int
  /// The first NFQUEUE number; worker i has number `firstQueue + i`.
  public var firstQueue: UInt16
  /// skb->mark of packets for connections whose back-end is this node; the node's own rules must not use it.
  public var localMark: UInt32
  /// The most handed-off connections at a time; beyond, requests are answered with 503.
  public var maximumFlows: Int
  /// Nanoseconds from the handshake until the request head must be complete (408 otherwise).
  public var headTimeout: UInt64
  public var handshake: HandshakeMode
  public var packets: PacketPath
  public var tunnel: TunnelMode
  public var forwarding: ForwardingMode
  /// Handoffs go by packet to nodes that take them so.
  public var sendsPackets: Bool
  /// Drawn at process start, names this run of the process.
  public var instance: UInt64

  public init(
    nodeName: String, internalAddress: IPAddress, interface: String, services: [Endpoint], dispatcher: Endpoint,
    workers: Int = 1, firstQueue: UInt16 = 0, localMark: UInt32 = 0x4846, maximumFlows: Int = 262_144,
    headTimeout: UInt64 = 10_000_000_000, handshake: HandshakeMode = .auto,
    packets: PacketPath = .auto, tunnel: TunnelMode = .auto, forwarding: ForwardingMode = .auto,
    sendsPackets: Bool = true, instance: UInt64
  ) {
    self.nodeName = nodeName
    self.internalAddress = internalAddress
    self.interface = interface
    self.services = services
    self.dispatcher = dispatcher
    self.workers = workers
    self.firstQueue = firstQueue
    self.localMark = localMark
    self.maximumFlows = maximumFlows
    self.headTimeout = headTimeout
    self.handshake = handshake
    self.packets = packets
    self.tunnel = tunnel
    self.forwarding = forwarding
    self.sendsPackets = sendsPackets
    self.instance = instance
  }

  /// The window before the handoff, in bytes. A web server's kernel begins with some 64,000, rounded down to whole segments
  /// (`tcp_select_initial_window`): what clients are told here must not be more, or the handoff would shrink their window.
  static let receiveLimit = 60_000
}
