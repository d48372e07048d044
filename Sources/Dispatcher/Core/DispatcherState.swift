// SPDX-License-Identifier: Apache-2.0

public import ControlProtocol
internal import Rules

/// The dispatcher without sockets and clock: events in, actions out. The same sequence of events with the same times gives
/// the same actions, on every machine.
public struct DispatcherState: ~Copyable, Sendable {
  /// What happened. Times are nanoseconds that never go back.
  public enum Event: Sendable {
    case registerBackEnd(PeerID, name: String, instance: UInt64, BackEndRegistration)
    case registerDistributor(PeerID, DistributorRegistration)
    /// A peer said anything at all: it lives.
    case heard(PeerID)
    /// A control connection is gone.
    case lost(PeerID)
    case request(PeerID, DecisionRequest)
    /// A distributor could not use an assignment to this back-end.
    case returned(BackEndID)
    /// What a distributor did with credits of a lease; comes before `.returned` for connections of that lease.
    case leaseAccount(PeerID, LeaseAccount)
    /// A distributor has told of all that it used lately, of these back-ends.
    case leasesUsed(PeerID, BackEndSet)
    case report(PeerID, LoadReport, diskQueue: UInt32 = 0)
    /// `nextDeadline` came.
    case tick
  }

  /// What the driver must do.
  public enum Action: Hashable, Sendable {
    case answer(PeerID, Decision)
    /// Further credits for a distributor that has used some.
    case renew(PeerID, LeaseCredit)
    /// Tell the other distributors than this peer's where requests for the target go.
    case spread(PeerID, TargetLease)
    /// Send `view` to every peer that said hello.
    case publishView
    /// Say goodbye with this text and close.
    case dismiss(PeerID, Dismissal)
  }

  /// Why a control connection is closed by the dispatcher.
  public enum Dismissal: Hashable, Sendable {
    /// A live node has this name already.
    case nameTaken(String)
    /// The same node, or one that replaces it, has a newer connection.
    case replaced(String)
    /// All numbers of back-ends belong to connected nodes.
    case tooManyBackEnds
    case tooManyServices
    /// The peer is a back-end under another name already, or another role.
    case alreadyRegistered
  }

  /// What a peer registered as.
  enum PeerRole: Hashable, Sendable {
    case backEnd(Int)
    case distributor
  }

  public let parameters: DispatcherParameters
  public internal(set) var policy: Policy
  public internal(set) var table: TargetTable
  public internal(set) var loads: LoadBook
  public internal(set) var registry = Registry()
  public internal(set) var counters = DispatcherCounters()
  var queue: AdmissionQueue
  var peers: [PeerID: PeerRole] = [:]
  var lastHeard: [UInt64]
  var slowStart: SlowStart
  public internal(set) var leases: LeaseLedger
  /// Members of each pool that any back-end ever was in.
  var pools: [(id: PoolID, members: BackEndSet)] = []
  public internal(set) var affinities: AffinityTable
  /// `Admission.limit` for the present members.
  public internal(set) var admissionLimit: UInt64 = 0

  public init(_ parameters: DispatcherParameters) {
    self.parameters = parameters
    policy = parameters.policy
    table = TargetTable(capacity: parameters.policy.usesTargetTable ? parameters.tableCapacity : 1)
    loads = LoadBook(assignmentLifetime: parameters.assignmentLifetime)
    queue = AdmissionQueue(capacity: parameters.queueCapacity)
    lastHeard = Array(repeating: 0, count: BackEndSet.capacity)
    slowStart = SlowStart(duration: parameters.slowStart)
    affinities = AffinityTable(capacity: parameters.affinityCapacity)
    leases = LeaseLedger()
  }

  /// Takes one event; appends what must be done to `actions`.
  @inline(__always)
  public mutating func handle(_ event: Event, now: UInt64, _ actions: inout [Action]) {
    loads.advance(to: now)
    switch event {
    case .request(let peer, let request): decideOrQueue(request, from: peer, now: now, &actions)
    case .returned(let id): giveBack(id, now: now, &actions)
    case .leaseAccount(let peer, let account): take(account, from: peer, now: now, &actions)
    case .leasesUsed(let peer, let backEnds): renew(backEnds, for: peer, &actions)
    case .report(let peer, let report, let diskQueue): take(report, diskQueue, from: peer, now: now, &actions)
    case .heard(let peer): heard(peer, now: now)
    case .tick: tick(now: now, &actions)
    case .lost(let peer): lose(peer, now: now, &actions)
    case .registerDistributor(let peer, let registration): register(registration, peer, &actions)
    case .registerBackEnd(let peer, let name, let instance, let registration):
      register(name: name, instance: instance, registration, peer, now: now, &actions)
    }
  }

  /// The membership as everybody shall see it.
  public var view: ClusterView { registry.view(loads) }

  /// Requests that wait for room.
  public var queuedRequests: Int { queue.count }

  /// When `.tick` is due next; nil when nothing waits.
  public var nextDeadline: UInt64? {
    var next = loads.nextDeadline
    for deadline in [queue.nextDeadline, slowStart.nextStep] {
      if let deadline { next = min(next ?? .max, deadline) }
    }
    return next
  }
}
