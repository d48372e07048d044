// SPDX-License-Identifier: Apache-2.0

public import Wire

/// What a process is on one control connection.
public enum Role: UInt8, Hashable, Sendable, CaseIterable {
  case dispatcher = 1
  case distributor = 2
  case backEnd = 3
}

/// A back-end's number in the dispatcher's registry: small, dense, and kept for the same node name as long as the
/// dispatcher lives. Within a distributor its own numbers take its place (`BackEndNumbers`).
public struct BackEndID: Hashable, Sendable, BitwiseCopyable, Comparable {
  public var rawValue: UInt16

  @inlinable
  public init(_ rawValue: UInt16) { self.rawValue = rawValue }

  @inlinable
  public static func < (left: BackEndID, right: BackEndID) -> Bool { left.rawValue < right.rawValue }
}

/// States that an operator can name.
public enum BackEndState: UInt8, Hashable, Sendable, CaseIterable, BitwiseCopyable {
  /// Takes new connections.
  case up = 1
  /// Takes no new connections, keeps those it has.
  case draining = 2
  /// The agent is away, or its web server does not answer.
  case down = 3
}

/// First message on every control connection, in both directions.
public struct Hello: Hashable, Sendable {
  /// Protocol version of the sender. A peer with another major version is refused by name.
  public var version: UInt16
  public var role: Role
  /// Random number drawn at process start: tells a restarted node from one that reconnects.
  public var instance: UInt64
  /// Node name, unique in the cluster; at most 255 bytes of UTF-8.
  public var name: String

  public init(version: UInt16 = ControlProtocolVersion.current, role: Role, instance: UInt64, name: String) {
    self.version = version
    self.role = role
    self.instance = instance
    self.name = name
  }
}

public enum ControlProtocolVersion {
  public static let current: UInt16 = 6
}

/// A server node announces itself to the dispatcher.
public struct BackEndRegistration: Hashable, Sendable {
  /// Internal address, where distributors reach the agent. Never one of the served addresses.
  public var address: IPAddress
  /// Ethernet address of the interface that has `address`: distributors forward client packets to it.
  public var mac: MACAddress
  /// TCP port of the agent for handoffs.
  public var handoffPort: UInt16
  /// TCP port of the node's web server (`-bp`).
  public var serverPort: UInt16
  /// Capacity relative to other nodes; 100 is an average node.
  public var weight: UInt16
  /// The most connections that the agent takes at a time.
  public var maximumConnections: UInt32
  /// Names of the pools that the node is in (`PoolID`), at most `ControlProtocolLimit.pools`.
  public var pools: [String]

  public init(
    address: IPAddress, mac: MACAddress, handoffPort: UInt16, serverPort: UInt16, weight: UInt16,
    maximumConnections: UInt32, pools: [String] = []
  ) {
    self.address = address
    self.mac = mac
    self.handoffPort = handoffPort
    self.serverPort = serverPort
    self.weight = weight
    self.maximumConnections = maximumConnections
    self.pools = pools
  }
}

/// A distributor announces what it serves; every server node then accepts packets for these addresses.
public struct DistributorRegistration: Hashable, Sendable {
  public var services: [Endpoint]

  public init(services: [Endpoint]) { self.services = services }
}

/// One back-end as the dispatcher tells distributors and server nodes.
public struct BackEndDescription: Hashable, Sendable {
  public var id: BackEndID
  public var name: String
  public var state: BackEndState
  /// The agent's `Hello.instance`: another value means that the agent restarted and every connection there is gone.
  public var instance: UInt64
  public var registration: BackEndRegistration

  public init(
    id: BackEndID, name: String, state: BackEndState, instance: UInt64, registration: BackEndRegistration
  ) {
    self.id = id
    self.name = name
    self.state = state
    self.instance = instance
    self.registration = registration
  }
}

/// The whole membership, sent by the dispatcher to every node after each change. Snapshots instead of differences:
/// a node that reconnects needs no special case.
public struct ClusterView: Hashable, Sendable {
  /// Grows by one with each change; restarts with the dispatcher's `Hello.instance`.
  public var epoch: UInt64
  public var backEnds: [BackEndDescription]
  /// All served endpoints of all live distributors, sorted, without duplicates.
  public var services: [Endpoint]

  public init(epoch: UInt64, backEnds: [BackEndDescription], services: [Endpoint]) {
    self.epoch = epoch
    self.backEnds = backEnds
    self.services = services
  }
}
