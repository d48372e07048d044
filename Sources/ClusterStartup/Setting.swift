// SPDX-License-Identifier: Apache-2.0

/// Everything that can be configured. The raw value is the key in the configuration file and, with two dashes, the long
/// option; a test keeps options, file and documentation in step.
enum Setting: String, CaseIterable, Sendable {
  case roles
  case distributorPort = "distributor-port"
  case serverPort = "server-port"
  case dispatcher
  case nodeName = "node-name"
  case internalAddress = "internal-address"
  case serve
  case serveMode = "serve-mode"
  case interface
  case controlPort = "control-port"
  case handoffPort = "handoff-port"
  case admin
  case policy
  case tLow = "t-low"
  case tHigh = "t-high"
  case admission
  case leaseCredits = "lease-credits"
  case leaseTime = "lease-time"
  case rules
  case weight
  case pool
  case maxConnections = "max-connections"
  case workers
  case queueNumber = "queue-number"
  case handshake
  case packets
  case tunnel
  case forwardingHook = "forwarding-hook"
  case handoffs
  case headTimeout = "head-timeout"
  case drainSeconds = "drain-seconds"
  case logLevel = "log-level"
  case logFormat = "log-format"

  /// Takes a sequence in the file, and may be given repeatedly as an option.
  var isList: Bool { self == .roles || self == .serve || self == .pool }

  /// As it is written on a command line.
  var option: String {
    switch self {
    case .roles: "-D, -FE, -BE"
    case .distributorPort: "-fp"
    case .serverPort: "-bp"
    case .dispatcher: "-da"
    default: "--\(rawValue)"
    }
  }

  /// The roles that read it; empty when the process itself does.
  var readers: Set<NodeRole> {
    switch self {
    case .distributorPort, .serve, .queueNumber, .handshake, .packets, .forwardingHook, .headTimeout:
      [.distributor]
    case .serverPort, .handoffPort, .weight, .serveMode, .pool: [.backEnd]
    case .policy, .tLow, .tHigh, .admission, .leaseCredits, .leaseTime, .rules: [.dispatcher]
    case .maxConnections, .workers, .interface, .tunnel, .handoffs: [.distributor, .backEnd]
    default: []
    }
  }
}

/// What a node can be, in the order in which roles are started.
enum NodeRole: String, CaseIterable, Sendable, Comparable {
  case dispatcher
  case backEnd = "back-end"
  case distributor

  static func < (left: NodeRole, right: NodeRole) -> Bool {
    (allCases.firstIndex(of: left) ?? 0) < (allCases.firstIndex(of: right) ?? 0)
  }

  var flag: String {
    switch self {
    case .dispatcher: "-D"
    case .backEnd: "-BE"
    case .distributor: "-FE"
    }
  }
}
