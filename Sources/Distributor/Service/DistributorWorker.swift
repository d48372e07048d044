// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import DistributorCore
import ForwardingPlane
import Handoff
import LinuxKernel
import Logging
import Telemetry
import Wire

/// One event loop of the distributor: a queue of client packets, the responder that owns their connections, and control
/// connections to the dispatcher and to every back-end. Workers share nothing but the kernel's flow table.
struct DistributorWorker: ~Copyable {
  let configuration: DistributorConfiguration
  let index: Int
  let shared: DistributorShared
  let logger: Logger

  var epoll: Epoll
  /// The dispatcher's connection. What it says by itself can wait, an answer cannot.
  var dispatcherEvents: CoalescedEpoll
  /// Connections to agents. Words about handoffs by packet can wait, answers to messages cannot.
  var agentEvents: CoalescedEpoll
  /// A handoff was sent as a message lately: its answer is waited for.
  var answersUrgentUntil: UInt64 = 0
  var source: PacketSource
  var delivery: Delivery
  var core: PacketCore

  /// Names this worker in handoffs by packet.
  let origin: UInt64
  let dispatcher: Dialer
  var decisions = DecisionQueue()
  var leases = LeaseTable()
  var leaseAccounts: [LeaseAccount] = []
  /// The answer to what was told of credits is waited for.
  var needsCredits = false
  /// Nil when every handoff is this worker's own.
  var lending: LeaseLending?
  /// In this distributor's numbers, as all here but what is said to the dispatcher.
  var view = ClusterView(epoch: 0, backEnds: [], services: [])
  /// By number; nil for those that are not given.
  var backEnds: [BackEndLink?] = []
  var translation = BackEndTranslation()
  let fallback: FallbackPolicy

  var flows: LiveFlows
  var statistics = DistributorStatistics()
  var publishAt: UInt64 = 0
  /// Something happened since the counters were last published.
  var isUnpublished = true
  /// Assignments that could not be used, to be told to the dispatcher at the end of the turn.
  var returned: [UInt16] = []
  var transmits: [Range<Int>] = []

  static let wakeToken: UInt64 = 0
  static let queueToken: UInt64 = 1
  static let dispatcherToken: UInt64 = 2
  static let pathErrorToken: UInt64 = 3
  static let agentsToken: UInt64 = 4

  /// Nanoseconds for which events of control connections may wait while nobody waits for them: about as long as the program
  /// in the kernel keeps what it did to itself.
  static let coalescing = LeaseLender.lookInterval
  /// So long after a handoff that was sent as a message its answer is expected.
  static let answerTime: UInt64 = 200_000_000

  init(
    _ configuration: DistributorConfiguration, index: Int, shared: DistributorShared, source: consuming PacketSource,
    packetSocket: consuming PacketSocket, keys: ResponderKeys, logger: Logger
  ) throws(SystemError) {
    let now = MonotonicTime.now()
    let epoll = try Epoll()
    let dispatcherEvents = try CoalescedEpoll(
      in: epoll, token: DistributorWorker.dispatcherToken, interval: DistributorWorker.coalescing)
    let agentEvents = try CoalescedEpoll(
      in: epoll, token: DistributorWorker.agentsToken, interval: DistributorWorker.coalescing)
    let sender = try RawPacketSender()
    let tunnelSocket = try DatagramSocket(from: configuration.internalAddress)
    let checksums = source.checksums
    let pathErrors = try DistributorWorker.openPathErrors(configuration, worker: index, epoll)
    try epoll.add(shared.wakeUps[index].raw, .read, token: DistributorWorker.wakeToken)
    try epoll.add(source.descriptor, .read, token: DistributorWorker.queueToken)
    self.configuration = configuration
    self.index = index
    self.shared = shared
    self.logger = logger
    self.epoll = epoll
    self.dispatcherEvents = dispatcherEvents
    self.agentEvents = agentEvents
    self.source = source
    delivery = Delivery(
      sender: sender, packetSocket: packetSocket, tunnelSocket: tunnelSocket, tunnels: shared.reach.tunnels,
      source: configuration.internalAddress, splits: checksums == .rightOrOpen)
    var limits = ResponderConfiguration(targetKey: TargetHash.key)
    limits.receiveLimit = DistributorConfiguration.receiveLimit
    limits.headTimeout = configuration.headTimeout
    let sizes = SegmentSizes(longestPacket: shared.reach.longestPacket(to: []))
    (limits.maximumSegmentSizeIPv4, limits.maximumSegmentSizeIPv6) = (sizes.ipv4, sizes.ipv6)
    limits.handshakeInKernel = shared.answersInKernel
    limits.checksums = checksums
    // Longer than it takes to notice that the dispatcher is dead: such requests are decided locally, not refused.
    limits.decisionTimeout = ControlConnection.silenceLimit + 1_000_000_000
    limits.placementTimeout = limits.decisionTimeout + 2_000_000_000
    core = PacketCore(
      responder: Responder(configuration: limits, keys: keys, services: configuration.services, now: now), now: now)
    // Each worker is a distributor of its own to its peers: names are unique in the cluster.
    let hello = Hello(
      role: .distributor, instance: configuration.instance, name: "\(configuration.nodeName)/\(index)")
    origin = HandoffOrigin.value(instance: hello.instance, name: hello.name)
    dispatcher = Dialer(
      to: configuration.dispatcher, from: configuration.internalAddress, as: hello, expecting: .dispatcher, token: 0,
      now: now)
    fallback = FallbackPolicy(key: TargetHash.key)
    flows = LiveFlows(limit: Int(configuration.maximumFlows))
    self.pathErrors = pathErrors
    if let plane = shared.leasePlane { lending = LeaseLending(plane.lender(worker: index, origin: origin)) }
  }

  /// Runs until a stop was asked and what was under way is done, or the time for it is over.
  mutating func run() {
    while !isFinished() {
      let ready = epoll.wait(until: nextDeadline())
      core.now = MonotonicTime.now()
      if ready > 0 { isUnpublished = true }
      // What the kernel handed off does not wake anybody.
      if (lending?.lookAt ?? .max) != .max { receivePackets() }
      handle(ready)
      core.responder.tick(now: core.now, into: &core.actions)
      perform()
      turnLinks()
      perform()
      arrangeEvents()
      endFlows()
      if core.now >= aliveAt {
        if lending != nil { receivePackets() }
        showLife()
      }
      publishIfDue()
    }
    stopLending()
    publish()
  }

  private mutating func handle(_ ready: Int) {
    var (dispatcherSpeaks, agentsSpeak) = (false, false)
    for index in 0..<ready {
      switch epoll.ready(index).token {
      case DistributorWorker.wakeToken: shared.wakeUps[self.index].clear()
      case DistributorWorker.queueToken: receivePackets()
      case DistributorWorker.dispatcherToken: dispatcherSpeaks = true
      case DistributorWorker.agentsToken: agentsSpeak = true
      case DistributorWorker.pathErrorToken: receivePathErrors()
      default: break
      }
    }
    if dispatcherEvents.look(isTold: dispatcherSpeaks) > 0 { dispatcherReady() }
    for index in 0..<agentEvents.look(isTold: agentsSpeak) { backEndReady(Int(agentEvents.ready(index).token)) }
  }

  /// Whose words wake this worker from now on.
  private mutating func arrangeEvents() {
    let isAsking = dispatcher.connection == nil || decisions.isWaiting || needsCredits
    dispatcherEvents.arrange(in: epoll, now: core.now, isUrgent: isAsking)
    agentEvents.arrange(in: epoll, now: core.now, isUrgent: core.now < answersUrgentUntil)
  }

  /// Takes packets that wait, a bounded number of batches, so that control connections and timers are served under a flood
  /// too.
  mutating func receivePackets(batches: Int = 8) {
    for _ in 0..<batches {
      do {
        let isMore = try source.receive(into: &core) { core, packet, handoff in
          if let handoff {
            core.responder.handedOff(handoff, packet, now: core.now, into: &core.actions)
          } else {
            core.responder.receive(packet, now: core.now, into: &core.actions)
          }
        }
        perform()
        queueFailures = 0
        if !isMore { break }
      } catch {
        statistics.queueErrors += 1
        queueFailures += 1
        logger.error("cannot read client packets", metadata: ["error": "\(error)"])
        return
      }
    }
    lending?.looked(now: core.now)
  }

  /// Takes all that waits: what came before a peer's word belongs before it.
  mutating func receiveAllPackets() { receivePackets(batches: DistributorWorker.ringfulOfBatches) }

  /// So many hold every record of a ring.
  private static let ringfulOfBatches = 512

  /// Failed reads of the queue in a row. A queue that fails for good would leave clients without an answer: the worker
  /// ends, and with it the process, whose successor opens the queue anew.
  private var queueFailures = 0
  private static let queueFailureLimit = 100

  private mutating func isFinished() -> Bool {
    if queueFailures >= DistributorWorker.queueFailureLimit { return true }
    guard let deadline = shared.drainDeadline.read() else { return false }
    core.responder.stopAccepting()
    return core.now >= deadline || (core.responder.openConnections == 0 && flows.active == 0)
  }

  private mutating func nextDeadline() -> UInt64 {
    var deadline = linkDeadline
    if let responder = core.responder.nextDeadline { deadline = min(deadline, responder) }
    deadline = min(deadline, min(flows.nextDeadline, aliveAt))
    if index == 0 { deadline = min(deadline, sweepAt) }
    deadline = min(deadline, lending?.lookAt ?? .max)
    deadline = min(deadline, min(dispatcherEvents.lookAt, agentEvents.lookAt))
    if let drain = shared.drainDeadline.read() { deadline = min(deadline, drain) }
    return isUnpublished ? min(deadline, publishAt) : deadline
  }

  /// The walk through the flow table, and when to take its next step.
  var sweep = FlowSweep()
  var sweepAt: UInt64 = 0

  /// Hears of packets in tunnels that were too long; nil at all workers but the first.
  var pathErrors: PathErrorSocket?
  /// The back-end whose way is looked at next.
  var nextWay = 0
  /// Bytes of the longest packet that clients are told to send.
  var longestPacket = 0

  /// When to tell the kernel again that this worker lives.
  var aliveAt: UInt64 = 0

  /// What the others were last told of the dispatcher's connection.
  var wasConnected = false

  /// The earliest time at which a control connection wants to be looked at; set by `turnLinks`.
  var linkDeadline: UInt64 = 0
}

/// The responder with what one loop turn needs, apart from the sources of events, so that both can be mutated at once.
struct PacketCore: ~Copyable {
  var responder: Responder
  var actions = ActionList()
  var now: UInt64

  init(responder: consuming Responder, now: UInt64) {
    self.responder = responder
    self.now = now
  }
}
