// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import DispatcherCore
import Distributor
import Handoff
import Logging
import Rules
import Telemetry
import Wire

/// What one process shall be, as far as options and file say it: checked, but nothing of this host is known yet.
struct NodeConfiguration: Sendable, Hashable {
  var dispatcher: DispatcherPlace
  var backEnd: BackEndSettings?
  var distributor: DistributorSettings?

  /// Nil: the host's name.
  var nodeName: String?
  /// Nil: chosen from the interfaces of the host.
  var internalAddress: IPAddress?
  /// Nil: the interface that has the internal address.
  var interface: String?
  /// The dispatcher's port, the same in the whole cluster.
  var controlPort: UInt16
  /// Event loops of each role that has several; nil: one per processor.
  var workers: Int?
  /// Nil: no admin server.
  var admin: Endpoint?
  var drainSeconds: Double
  var log: LogSettings

  enum DispatcherPlace: Sendable, Hashable {
    case here(DispatcherSettings)
    /// Name or address of its node.
    case elsewhere(host: String)
  }

  /// Roles of this node in the order in which they start.
  var roles: [NodeRole] {
    var roles: [NodeRole] = []
    if case .here = dispatcher { roles.append(.dispatcher) }
    if backEnd != nil { roles.append(.backEnd) }
    if distributor != nil { roles.append(.distributor) }
    return roles
  }
}

struct DispatcherSettings: Sendable, Hashable {
  var policy: PolicyWord
  /// Load in connections below which a back-end counts as idle, and above which as busy (LARD's T_low and T_high).
  var tLow: UInt32
  var tHigh: UInt32
  /// Connections that the cluster takes at a time; beyond, requests wait for a moment and are then answered with 503.
  var admission: Admission
  /// Which decisions a distributor may repeat by itself.
  var leases: LeaseTerms
  /// What comes before the policy.
  var rules: [Rule]
}

/// Policies as options and file write them.
enum PolicyWord: String, CaseIterable, Sendable {
  /// Weighted round robin.
  case wrr
  /// Least connections.
  case lc
  case hash
  /// Consistent hash with bounded load.
  case bounded
  case lard
  /// LARD with replication.
  case lardr
  /// Extended LARD, for persistent connections.
  case elard
  /// LARD with replication in an order of each target's own.
  case alard
}

struct BackEndSettings: Sendable, Hashable {
  /// Port of the node's web server.
  var serverPort: UInt16
  var handoffPort: UInt16
  /// Relative to other nodes; 100 is an average one.
  var weight: UInt16
  /// Names of the pools that it is in.
  var pools: [String]
  var tunnel: TunnelMode
  var handoffs: HandoffPath
  var maximumConnections: UInt32
  var serveMode: ServeMode
}

struct DistributorSettings: Sendable, Hashable {
  var port: UInt16
  /// Empty: the addresses of the interface that are not the internal one.
  var serve: [IPAddress]
  var queueNumber: UInt16
  var handshake: HandshakeMode
  var packets: PacketPath
  var forwarding: ForwardingMode
  var tunnel: TunnelMode
  var handoffs: HandoffPath
  /// Handed-off connections at a time.
  var maximumFlows: UInt32
  /// Nanoseconds.
  var headTimeout: UInt64
}

struct LogSettings: Sendable, Hashable {
  var level: Logger.Level
  var format: LogFormat
}
