// SPDX-License-Identifier: Apache-2.0

public import ControlProtocol
public import DispatcherCore
public import Telemetry

/// What a dispatcher counted and knows, as others may read it.
public struct DispatcherSnapshot: Sendable {
  public var policy = PolicyName.replicatedLARD
  public var counters = DispatcherCounters()
  public var backEnds: [BackEnd] = []
  public var targets = 0
  public var targetCapacity = 0
  public var targetsGivenUp: UInt64 = 0
  /// Clients and sessions that stick to a node, those whose time is over included.
  public var ties = 0
  public var tiesGivenUp: UInt64 = 0
  public var queued = 0
  /// Connections on all nodes that take new ones.
  public var connections: UInt64 = 0
  public var admissionLimit: UInt64 = 0
  public var forgottenAssignments: UInt64 = 0
  public var leases = LeaseLedger()
  public var epoch: UInt64 = 0
  public var peers = 0
  /// Loop turns, and those that were reached without sleeping.
  public var waits: UInt64 = 0
  public var waitsWithoutSleep: UInt64 = 0
  /// From the wake-up that brought questions to the write of their answers, once for each message of answers.
  public var held = LatencyHistogram()
  public var messagesReceived: UInt64 = 0
  public var messagesSent: UInt64 = 0
  /// By `PeerEnd.rawValue`.
  public var ended = [UInt64](repeating: 0, count: PeerEnd.allCases.count)
  public var failedAccepts: UInt64 = 0

  public struct BackEnd: Hashable, Sendable {
    public var id: BackEndID
    public var name: String
    public var state: BackEndState
    public var connections: UInt32
    /// Of these, assigned and not yet reported by the node.
    public var inFlight: UInt32
    /// Connections that leases may still bring.
    public var held: UInt32
    public var weight: UInt32
    /// Connections per weight, in connections of an average node.
    public var relativeLoad: Double
    public var hardMaximum: UInt32
    public var pools: [String]
  }

  public init() {}
}

/// Why a control connection ended; each ends for exactly one reason.
public enum PeerEnd: UInt8, Hashable, Sendable, CaseIterable {
  case closed
  case malformed
  case silent
  case notReading
  case system
  /// It said something that its role or phase does not allow.
  case protocolViolation
  /// It said goodbye.
  case left
  /// The dispatcher refused it: version, role, name, or number.
  case refused
  /// A newer connection of the same node took its place.
  case replaced
  case tooManyPeers
  case stopping

  public var name: String {
    switch self {
    case .closed: "closed"
    case .malformed: "malformed"
    case .silent: "silent"
    case .notReading: "not_reading"
    case .system: "system"
    case .protocolViolation: "protocol_violation"
    case .left: "left"
    case .refused: "refused"
    case .replaced: "replaced"
    case .tooManyPeers: "too_many_peers"
    case .stopping: "stopping"
    }
  }
}

/// A target that many requests are for.
public struct HotTarget: Hashable, Sendable {
  public var hash: UInt64
  /// Decisions, halved each time that the table's hand passes.
  public var uses: UInt32
  public var replicas: [BackEndID]

  public init(hash: UInt64, uses: UInt32, replicas: [BackEndID]) {
    self.hash = hash
    self.uses = uses
    self.replicas = replicas
  }
}
