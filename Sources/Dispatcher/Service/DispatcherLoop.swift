// SPDX-License-Identifier: Apache-2.0

internal import ControlChannel
internal import ControlProtocol
internal import DispatcherCore
internal import LinuxKernel
internal import Logging
internal import Rules
internal import Telemetry
internal import Wire

/// The dispatcher's one thread: accepts nodes, feeds what they say to `DispatcherState`, and carries its actions out. Every
/// request that is read in a turn is answered in the same turn, unless it must wait for the admission limit.
struct DispatcherLoop: ~Copyable {
  enum Token {
    static let listener: UInt64 = 0
    static let wakeUp: UInt64 = 1
    static let reports: UInt64 = 2
    static let firstPeer: UInt64 = 3
  }

  let configuration: DispatcherConfiguration
  let endpoint: Endpoint
  let shared: DispatcherShared
  let logger: Logger
  private let listener: StreamSocket
  private let wakeUp: WakeUp
  /// Those who may ask, and whoever has not said yet what it is.
  var epoll: Epoll
  /// The agents. Nobody waits for the dispatcher to read their reports, unless a request waits for a connection to end.
  var reports: CoalescedEpoll
  private var busyWait: BusyWait
  var state: DispatcherState
  var rules: RuleSet
  private var ruleTable: RuleTable
  var actions: [DispatcherState.Action] = []
  var peers: [UInt64: DispatcherPeer] = [:]
  var dirty: [DispatcherPeer] = []
  var isViewDirty = false
  var counts = DispatcherSnapshot()
  private var nextToken = Token.firstPeer
  private var nextSweep: UInt64 = 0
  /// Nanoseconds that a report may wait. Shorter than agents keep ends to themselves: nothing counts what waits here.
  private static let reportCoalescing: UInt64 = 20_000_000

  /// When accepting is tried again after a failure; nil while the listener is watched.
  private var listenerPausedUntil: UInt64?
  private var nextPublish: UInt64 = 0
  /// Whether the published snapshot is out of date.
  var isChanged = true

  init(
    _ configuration: DispatcherConfiguration, _ shared: DispatcherShared, _ logger: Logger
  ) throws(SystemError) {
    let listener = try StreamSocket.listen(at: configuration.listen)
    let wakeUp = try WakeUp()
    let epoll = try Epoll()
    let reports = try CoalescedEpoll(in: epoll, token: Token.reports, interval: DispatcherLoop.reportCoalescing)
    try epoll.add(listener.raw, [.read], token: Token.listener)
    try epoll.add(wakeUp.raw, [.read], token: Token.wakeUp)
    endpoint = try listener.localEndpoint()
    self.configuration = configuration
    self.shared = shared
    self.logger = logger
    self.listener = listener
    self.wakeUp = wakeUp
    self.epoll = epoll
    self.reports = reports
    busyWait = BusyWait(limit: configuration.busyWait)
    state = DispatcherState(configuration.parameters)
    rules = RuleSet(
      rules: configuration.rules, keyHigh: UInt64.random(in: 0 ... .max), keyLow: UInt64.random(in: 0 ... .max))
    ruleTable = RuleTable(rules)
    shared.attach(wakeUp)
  }

  /// Runs until `DispatcherShared.stop`.
  mutating func run() {
    var now = MonotonicTime.now()
    while !shared.isStopping {
      let count = busyWait.wait(&epoll, until: nextDeadline(now))
      now = MonotonicTime.now()
      serve(count, now: now)
      if let due = state.nextDeadline, due <= now {
        handle(.tick, now: now)
        isChanged = true
      }
      resumeListener(now: now)
      finishTurn(now: now)
      if now >= nextSweep { sweep(now: now) }
      publish(now: now)
    }
    sayGoodbye(now: now)
    shared.close()
    publish(now: .max)
  }

  /// Who asks waits for the answer, who reports does not: questions are read and answered first.
  private mutating func serve(_ count: Int, now: UInt64) {
    var agentsSpeak = false
    for index in 0..<count {
      let event = epoll.ready(index)
      if event.token == Token.reports { agentsSpeak = true } else { ready(event, now: now) }
    }
    let spoke = reports.look(isTold: agentsSpeak)
    if spoke > 0, !dirty.isEmpty { finishTurn(now: now) }
    for index in 0..<spoke { ready(reports.ready(index), now: now) }
    reports.arrange(in: epoll, now: now, isUrgent: state.queuedRequests > 0)
  }

  private func nextDeadline(_ now: UInt64) -> UInt64 {
    var next = min(min(nextSweep, reports.lookAt), state.nextDeadline ?? .max)
    if let listenerPausedUntil { next = min(next, listenerPausedUntil) }
    return isChanged ? min(next, nextPublish) : next
  }

  private mutating func ready(_ event: Epoll.Ready, now: UInt64) {
    isChanged = true
    switch event.token {
    case Token.listener: accept(now: now)
    case Token.wakeUp:
      wakeUp.clear()
      answerQueries(now: now)
    default:
      guard let peer = peers[event.token] else { return }
      // Readiness for writing alone is served by the flush at the end of the turn.
      if event.interest.contains(.write) { markDirty(peer) }
      if !event.interest.isDisjoint(with: [.read, .error, .hangUp, .peerHangUp]) { receive(from: peer, now: now) }
    }
  }

  // MARK: Accepting

  private mutating func accept(now: UInt64) {
    do {
      while let accepted = try listener.accept() {
        let endpoint = accepted.peer
        let connection = ControlConnection(adopting: accepted.take(), now: now)
        let peer = DispatcherPeer(PeerID(nextToken), endpoint, connection, now: now)
        nextToken += 1
        try epoll.add(connection.descriptor, [.read, .peerHangUp], token: peer.id.rawValue)
        peers[peer.id.rawValue] = peer
        nextSweep = min(nextSweep, now + ControlConnection.pingInterval)
        if peers.count > configuration.maximumPeers {
          leave(
            peer, .tooManyPeers, "the dispatcher has \(configuration.maximumPeers) control connections already", now)
        }
      }
    } catch {
      counts.failedAccepts += 1
      logger.error("cannot accept a control connection", metadata: ["error": "\(error)"])
      // Out of descriptors: the connection stays in the backlog, and asking again at once would spin.
      listenerPausedUntil = now + 100_000_000
      try? epoll.modify(listener.raw, [], token: Token.listener)
    }
  }

  private mutating func resumeListener(now: UInt64) {
    guard let until = listenerPausedUntil, now >= until else { return }
    listenerPausedUntil = nil
    try? epoll.modify(listener.raw, [.read], token: Token.listener)
  }

  // MARK: Keep-alive

  /// Looks after every connection: pings, silence, missing hellos.
  private mutating func sweep(now: UInt64) {
    nextSweep = now + ControlConnection.pingInterval
    for peer in Array(peers.values) {
      do throws(ControlChannelError) {
        switch peer.phase {
        case .greeting(let deadline) where now >= deadline: throw .silent
        case .leaving(let deadline) where now >= deadline: remove(peer, nil, now: now)
        default:
          let next = try peer.connection.keepAlive(now: now)
          nextSweep = min(nextSweep, max(next, now + 1_000_000))
          if peer.connection.wantsWrite || !peer.targets.isEmpty { markDirty(peer) }
        }
      } catch {
        fail(peer, error, now: now)
      }
    }
    finishTurn(now: now)
  }

  // MARK: Telling others

  private mutating func answerQueries(now: UInt64) {
    for query in shared.takeQueries() {
      switch query {
      case .explain(let request, let reply):
        let (route, rule) = ruleTable.judge(request.facts, in: request.bytes.span)
        reply(
          RequestExplanation(
            target: request.target, route: route, rule: rule, rules: rules.rules,
            placement: state.explain(target: request.target, route: route, now: now)))
      case .setRules(let changed): change(changed)
      case .hottestTargets(let limit, let reply):
        reply(
          state.table.mostUsed(limit).map {
            HotTarget(hash: $0.key, uses: $0.uses, replicas: $0.mapping.replicas.members)
          })
      }
    }
  }

  private mutating func change(_ changed: [Rule]) {
    rules.rules = changed
    ruleTable = RuleTable(rules)
    for peer in Array(peers.values) where peer.hello?.role == .distributor { send(.rules(rules), to: peer) }
    logger.notice("rules changed", metadata: ["rules": "\(changed.count)"])
  }

  /// Publishes at most every 50 ms, and once more when things calm down.
  private mutating func publish(now: UInt64) {
    guard isChanged, now >= nextPublish else { return }
    isChanged = false
    nextPublish = now == .max ? now : now + 50_000_000
    var snapshot = counts
    snapshot.policy = state.policy.name
    snapshot.counters = state.counters
    snapshot.backEnds = state.view.backEnds.map { description in
      let index = Int(description.id.rawValue)
      return DispatcherSnapshot.BackEnd(
        id: description.id, name: description.name, state: description.state,
        connections: state.loads.connections(index), inFlight: state.loads.inFlight(index),
        held: state.loads.held(index),
        weight: state.loads.weight(index), relativeLoad: state.loads.relativeLoad(index).connections,
        hardMaximum: state.loads.hardMaximum(index), pools: description.registration.pools)
    }
    snapshot.targets = state.table.count
    snapshot.targetCapacity = state.table.capacity
    snapshot.targetsGivenUp = state.table.evictions
    snapshot.waits = busyWait.waits
    snapshot.waitsWithoutSleep = busyWait.spared
    snapshot.ties = state.affinities.count
    snapshot.tiesGivenUp = state.affinities.evictions
    snapshot.queued = state.queuedRequests
    snapshot.connections = state.loads.total
    snapshot.admissionLimit = state.admissionLimit
    snapshot.forgottenAssignments = state.loads.forgotten
    snapshot.leases = state.leases
    snapshot.epoch = state.registry.epoch
    snapshot.peers = peers.count
    shared.published.publish(snapshot)
  }
}
