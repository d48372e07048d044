// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ControlChannel
import ControlProtocol
import ForwardingPlane
import LinuxKernel
import Logging
import Telemetry
import Wire

/// The agent's control thread: dispatcher, service addresses, web-server check, listener for distributors, end.
struct ControlLoop: ~Copyable {
  enum Token: UInt64 {
    case signal, dispatcher, listener, addresses, serverIPv4, serverIPv6, own
  }

  let configuration: BackEndConfiguration
  let logger: Logger
  let shared: AgentShared
  private let loops: [WorkerThread]
  /// The only event loop, when it needs no thread of its own.
  private var own: HandoffLoop?
  private let dialer: Dialer
  let listener: StreamSocket
  // Held until the end, so that no second agent starts while this one still cleans up.
  private let lock: AbstractLock
  private var network: NodeNetwork
  var tunnels: TunnelReception
  var epoll: Epoll
  var checkIPv4: ServerCheck
  var checkIPv6: ServerCheck

  private var plan = ServiceAddressPlan()
  private var account = LoadAccount()
  var shown = AgentStatus()
  private var hasView = false
  var servesIPv4 = false
  var servesIPv6 = false
  private var addressesDue = false
  private var addressesFailed = false
  private var nextAddressCheck: UInt64 = 0
  private var nextReport: UInt64 = 0
  private var nextCountReport: UInt64 = 0
  private var isDraining = false
  var hasHadServices = false
  var adopted = 0
  let plane: ServePlane?
  var diagnostics: NetlinkSocket
  var services: [Endpoint] = []
  var judgements: [Bool: ListenerJudgement] = [:]
  var nextJudgement: UInt64 = 0
  /// When accepting goes on after it failed; nil while it does not.
  var acceptResumes: UInt64?

  /// At most one load report in this time: under load many ends share one.
  private static let reportInterval: UInt64 = 8_000_000
  static let second: UInt64 = 1_000_000_000

  /// Takes what was opened.
  init(
    _ configuration: BackEndConfiguration, shared: AgentShared, hello: Hello, loops: consuming EventLoops,
    listener: consuming StreamSocket, lock: consuming AbstractLock, network: consuming NodeNetwork, logger: Logger
  ) throws(SystemError) {
    let epoll = try Epoll(capacity: 32)
    let diagnostics = try NetlinkSocket(.socketDiagnostics)
    try epoll.add(shared.signal.descriptor, .read, token: Token.signal.rawValue)
    try epoll.add(listener.raw, .read, token: Token.listener.rawValue)
    try epoll.add(network.notificationDescriptor, .read, token: Token.addresses.rawValue)
    switch consume loops {
    case .threads(let threads):
      self.loops = threads
      own = nil
    case .own(let loop):
      try epoll.add(loop.epoll.raw, .read, token: Token.own.rawValue)
      self.loops = []
      own = consume loop
    }
    self.configuration = configuration
    self.shared = shared
    plane = shared.plane.read()
    self.diagnostics = diagnostics
    self.logger = logger
    self.epoll = epoll
    self.listener = listener
    self.lock = lock
    self.network = network
    tunnels = TunnelReception(logger: logger)
    dialer = Dialer(
      to: configuration.dispatcher, from: configuration.internalAddress, as: hello, expecting: .dispatcher,
      token: Token.dispatcher.rawValue, now: MonotonicTime.now())
    checkIPv4 = ServerCheck(configuration.server(isIPv4: true), token: Token.serverIPv4.rawValue)
    checkIPv6 = ServerCheck(configuration.server(isIPv4: false), token: Token.serverIPv6.rawValue)
  }

  /// Changes the node's network; what was changed before a failure is put back.
  mutating func setUp() throws(StartupFailure) {
    try network.setUp(keepingAddresses: plane?.hadPredecessor == true)
    do throws(StartupFailure) {
      shared.tunnelCounters.publish(
        try tunnels.open(at: network.interface.name, accepting: configuration.acceptsTunnels))
    } catch {
      network.tearDown()
      throw error
    }
  }

  mutating func run() {
    var deadline: UInt64 = 0
    while true {
      let count = epoll.wait(until: own == nil ? deadline : min(deadline, own!.nextTurn()))
      let now = MonotonicTime.now()
      var isDue = now >= deadline
      for index in 0..<count {
        let ready = epoll.ready(index)
        if ready.token == Token.own.rawValue { continue }
        isDue = true
        dispatch(ready, now)
      }
      if own != nil { own!.turn(waitingUntil: 0) }
      guard isDue || shared.signal.isUrgent || (now >= nextReport && shared.signal.hasEnds) else { continue }
      deadline = turn(now)
      if hasEnded(now) { break }
    }
    end()
  }

  private mutating func dispatch(_ ready: Epoll.Ready, _ now: UInt64) {
    switch Token(rawValue: ready.token) {
    case .own: break
    case .signal:
      if shared.signal.clear() {
        checkIPv4.hurry()
        checkIPv6.hurry()
      }
    case .dispatcher:
      var events: [Dialer.Event] = []
      dialer.ready(now: now) { events.append($0) }
      for event in events { handle(event, now) }
    case .listener: acceptDistributors(now)
    case .addresses: if network.addressesChanged() { addressesDue = true }
    case .serverIPv4: checkIPv4.ready()
    case .serverIPv6: checkIPv6.ready()
    case nil: break
    }
  }

  /// What is due by time or by what happened. Returns when to come again.
  private mutating func turn(_ now: UInt64) -> UInt64 {
    var deadline = now + ControlLoop.second
    if let limit = shared.stop.time {
      beginDraining()
      deadline = min(deadline, limit)
    }
    deadline = min(deadline, resumeAccepting(now))
    deadline = min(deadline, checkServers(now))
    deadline = min(deadline, judgeListeners(now))
    deadline = min(deadline, arrangeAddresses(now))
    deadline = min(deadline, reportLoad(now))
    var events: [Dialer.Event] = []
    deadline = min(deadline, dialer.turn(epoll, now: now) { events.append($0) })
    for event in events { handle(event, now) }
    show()
    return events.isEmpty ? deadline : now
  }

  // MARK: Dispatcher

  private mutating func handle(_ event: Dialer.Event, _ now: UInt64) {
    switch event {
    case .established(let connection, let peer):
      logger.info("registered at dispatcher \(peer.name), \(dialer.endpoint)")
      shown.dispatcherConnected = true
      connection.send(
        .registerBackEnd(
          BackEndRegistration(
            address: configuration.internalAddress, mac: network.interface.mac,
            handoffPort: configuration.handoffPort, serverPort: configuration.serverPort,
            weight: configuration.weight, maximumConnections: UInt32(shared.budget.limit),
            pools: configuration.pools)))
      account.connectionEstablished(loadTotals())
      nextReport = now
    case .message(.clusterView(let view)):
      plan.update(served: view.services.lazy.map(\.address), now: now)
      takeServices(view.services)
      tunnels.serve(Set(view.services.map(\.address)))
      servesIPv4 = view.services.contains { $0.address.isIPv4 }
      servesIPv6 = view.services.contains { !$0.address.isIPv4 }
      hasView = true
      addressesDue = true
    case .message: break
    case .lost(let error, let wasEstablished):
      if wasEstablished {
        // Served addresses and connections stay: the dispatcher comes back.
        logger.warning("the dispatcher \(dialer.endpoint) is away: \(error)")
        shown.dispatcherReconnects += 1
      }
      shown.dispatcherConnected = false
    case .refused(let reason):
      logger.error("the dispatcher \(dialer.endpoint) refuses this node: \(reason)")
    }
  }

  private func loadTotals() -> LoadTotals { shared.mailboxes.reduce(LoadTotals()) { $0 + $1.totals.read() } }

  /// `up` only when everything that a handoff needs is there.
  private var state: BackEndState {
    if isDraining { return .draining }
    return hasView && serverAnswers ? .up : .down
  }

  private mutating func reportLoad(_ now: UInt64) -> UInt64 {
    guard let connection = dialer.connection else {
      shared.signal.rearm()
      return .max
    }
    if now < nextReport, !shared.signal.isUrgent { return nextReport }
    let countsToo = now >= nextCountReport
    shared.signal.rearm()
    if let report = account.report(loadTotals(), state: state, countsToo: countsToo) {
      connection.send(.loadReport(report))
      nextReport = now + ControlLoop.reportInterval
    }
    if countsToo { nextCountReport = now + ControlLoop.second }
    return nextCountReport
  }

  // MARK: Addresses

  private mutating func arrangeAddresses(_ now: UInt64) -> UInt64 {
    if addressesDue || ((plan.isWaiting || addressesFailed) && now >= nextAddressCheck) {
      nextAddressCheck = now + ControlLoop.second
      addressesDue = false
      let counts = shared.mailboxes.map { $0.addressCounts.read() }
      addressesFailed = !network.apply(&plan, now: now) { address in
        counts.reduce(0) { $0 + ($1[address] ?? 0) }
      }
      for mailbox in shared.mailboxes { mailbox.set(countAddresses: plan.isWaiting) }
    }
    return plan.isWaiting || addressesFailed ? nextAddressCheck : .max
  }

  // MARK: End

  private mutating func beginDraining() {
    if isDraining { return }
    isDraining = true
    logger.info("draining \(loadTotals().active) connections")
    for mailbox in shared.mailboxes { mailbox.set(.draining) }
  }

  private func hasEnded(_ now: UInt64) -> Bool {
    guard let limit = shared.stop.time else { return false }
    if now >= limit { return true }
    return shared.mailboxes.allSatisfy { $0.acknowledged.read() != .serving } && loadTotals().active == 0
  }

  private mutating func end() {
    ControlLoop.endLoops(loops, shared)
    if own != nil { own!.end() }
    if let connection = dialer.connection {
      if let report = account.report(loadTotals(), state: .draining, countsToo: true) {
        connection.send(.loadReport(report))
      }
      connection.send(.goodbye("\(configuration.nodeName) stops"))
      try? connection.flush()
    }
    tunnels.close()
    network.tearDown()
    shown.state = .down
    shared.status.publish(shown)
    logger.info("the back-end agent has ended")
  }

  private mutating func show() {
    shown.state = state
    shown.serverUp = serverAnswers
    shown.servedAddresses = plan.standing.count
    shown.waitingFor =
      if !shown.dispatcherConnected {
        "the dispatcher at \(configuration.dispatcher)"
      } else if !hasView {
        "the dispatcher's view of the cluster"
      } else if !serverAnswers {
        "the web server on port \(configuration.serverPort)"
      } else {
        ""
      }
    shared.status.publish(shown)
  }
}
