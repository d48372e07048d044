// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ControlProtocol
import ForwardingPlane
import Handoff
import LinuxKernel
import Logging
import Telemetry
import Wire

/// One event loop of the agent: takes handoffs from its control connections and relays the connections that it made of
/// them. Shares nothing with the other loops.
struct HandoffLoop: ~Copyable {
  let configuration: BackEndConfiguration
  let budget: ConnectionBudget
  let hello: Hello
  let mailbox: LoopMailbox
  let control: ControlSignal
  /// The control thread is another one.
  private let wakesControl: Bool
  let logger: Logger

  var epoll: Epoll
  var diagnostics: NetlinkSocket
  var peers: [Peer] = []
  var slots: [RelaySlot] = []
  var freeSlots: [UInt32] = []
  /// Handoffs that wait for the web server's handshake or its listener, by slot.
  var waiting: [UInt32: HandoffRequest] = [:]
  /// Directions whose turn was over before the source was dry.
  var again: [LoopToken] = []
  var buffer: [UInt8]
  var held = HeldBytes()
  /// Nil when nothing is served directly.
  let direct: DirectInstaller?
  /// Slots of the handoffs that came by packet.
  var packets: [PacketHandoffName: UInt32] = [:]
  /// Until when the kernel takes handoffs by packet, as far as this loop has promised.
  var aliveUntil: UInt64 = 0
  /// Direct installations to be given up at the end of the turn.
  var hopeless: [UInt32] = []

  var mode = LoopMailbox.Mode.serving
  var countsAddresses = false
  var tally = HandoffTally()
  var totals = LoadTotals()
  var installTime = LatencyHistogram()
  /// A limit was met and logged; logged again only after it was not met for a while.
  var limitLogged: UInt64 = 0
  var nextComplaint: UInt64 = 0

  private var publishedTotals = LoadTotals()
  private var acknowledged = LoopMailbox.Mode.serving
  private var isDirty = true
  private var nextPublish: UInt64 = 0
  private var nextSweep: UInt64 = 0

  private var directBefore: UInt64 = 0
  private var endedBefore: UInt64 = 0
  private var lookUntil: UInt64 = 0

  static let lookInterval: UInt64 = 50_000_000
  private static let publishInterval: UInt64 = 50_000_000
  static let sweepInterval: UInt64 = 1_000_000_000

  init(
    _ configuration: BackEndConfiguration, budget: ConnectionBudget, hello: Hello, mailbox: LoopMailbox,
    control: ControlSignal, wakesControl: Bool, plane: ServePlane?, families: DirectFamilies, index: Int, logger: Logger
  ) throws(SystemError) {
    let direct: DirectInstaller?
    if let plane { direct = try DirectInstaller(plane, families, loop: index) } else { direct = nil }
    let epoll = try Epoll(capacity: 512)
    try epoll.add(mailbox.wakeDescriptor, .read, token: LoopToken(.mailbox, index: 0, generation: 0).rawValue)
    if let direct {
      try epoll.add(direct.ring.raw, .read, token: LoopToken(.events, index: 0, generation: 0).rawValue)
    }
    let diagnostics = try NetlinkSocket(.socketDiagnostics)
    self.direct = direct
    self.configuration = configuration
    self.budget = budget
    self.hello = hello
    self.mailbox = mailbox
    self.control = control
    self.wakesControl = wakesControl
    self.logger = logger
    self.epoll = epoll
    self.diagnostics = diagnostics
    buffer = Array(repeating: 0, count: configuration.holdPolicy.largest)
  }

  /// Runs until the mailbox says `.ending`; then ends every connection that is left.
  mutating func run() {
    while mode != .ending { turn(waitingUntil: nextTurn()) }
    end()
  }

  /// When the next turn is due if nothing happens; to be asked right before waiting.
  mutating func nextTurn() -> UInt64 { again.isEmpty ? min(nextDeadline(), lookAgain()) : 0 }

  mutating func turn(waitingUntil deadline: UInt64) {
    let count = epoll.wait(until: deadline)
    let now = MonotonicTime.now()
    showLife(now)
    for index in 0..<count { dispatch(epoll.ready(index), now) }
    if let direct {
      direct.ring.beginLook()
      drainEvents(direct)
    }
    continueInstalling(now)
    continueReading(now)
    endTurn(now)
  }

  /// Ends every connection that is left.
  mutating func end() {
    endEverything()
    publish()
  }

  /// While connections come and go, the kernel's events are looked for instead of being woken by each. Returns when to look.
  private mutating func lookAgain() -> UInt64 {
    guard let direct else { return .max }
    // As long as the promise is in force nobody wakes this loop.
    let now = MonotonicTime.now()
    if tally.direct == directBefore && totals.ended == endedBefore { return now < lookUntil ? lookUntil : .max }
    (directBefore, endedBefore) = (tally.direct, totals.ended)
    let look = MonotonicTime.tick(after: now, every: HandoffLoop.lookInterval)
    direct.ring.promiseToLook(until: look)
    // A little later: an event that was told just before the promise ended is there by then.
    lookUntil = look + HandoffLoop.lookInterval / 8
    return lookUntil
  }

  private mutating func dispatch(_ ready: Epoll.Ready, _ now: UInt64) {
    let token = LoopToken(rawValue: ready.token)
    isDirty = true
    switch token.kind {
    case .client: relayReady(token, .client, ready.interest, now)
    case .server: relayReady(token, .server, ready.interest, now)
    case .peer: peerReady(token, ready.interest, now)
    case .mailbox: readMailbox(now)
    // Read in every turn.
    case .events, .direct: break
    }
  }

  private mutating func readMailbox(_ now: UInt64) {
    let news = mailbox.take()
    mode = news.mode
    if mode != .serving { stopPackets() }
    countsAddresses = news.countAddresses
    for raw in news.sockets { adoptPeer(StreamSocket(owning: OwnedDescriptor(owning: raw)), now) }
    if !news.predecessors.isEmpty { adoptPredecessors(news.predecessors, now) }
  }

  /// Directions that used up their turn go on, after everybody else had one.
  private mutating func continueReading(_ now: UInt64) {
    let tokens = again
    again.removeAll(keepingCapacity: true)
    for token in tokens {
      guard isLive(token) else { continue }
      pump(token.index, from: token.kind == .client ? .client : .server, drained: false, now)
    }
  }

  private mutating func endTurn(_ now: UInt64) {
    expireHandshakes(now)
    if now >= nextSweep {
      nextSweep = now + HandoffLoop.sweepInterval
      sweep(now)
      collectUntold(now)
    }
    turnPeers(now)
    if totals != publishedTotals {
      let ended = totals.ended - publishedTotals.ended
      publishedTotals = totals
      mailbox.totals.publish(totals)
      if ended > 0 { control.connectionsEnded(ended, wakes: wakesControl) }
    }
    // After the totals: who sees the acknowledgement sees every connection that was taken before.
    if mode != acknowledged {
      acknowledged = mode
      mailbox.acknowledged.publish(mode)
      control.wake()
    }
    if isDirty, now >= nextPublish {
      nextPublish = now + HandoffLoop.publishInterval
      publish()
    }
  }

  private mutating func publish() {
    isDirty = false
    mailbox.totals.publish(totals)
    mailbox.report.publish(
      LoopReport(
        tally: tally, installTime: installTime, heldBytes: held.total,
        controlConnections: peers.count(where: { $0.connection != nil })))
  }

  private func nextDeadline() -> UInt64 {
    var deadline = nextSweep
    // What is due a little before the next look at the ring waits for it.
    if isDirty { deadline = min(deadline, max(nextPublish, lookUntil)) }
    for peer in peers where peer.connection != nil {
      deadline = min(deadline, peer.wakeTime)
      if peer.newsDue != .max { deadline = min(deadline, max(peer.newsDue, lookUntil)) }
    }
    for index in waiting.keys {
      switch slots[Int(index)].phase {
      case .connecting(let limit, _): deadline = min(deadline, limit)
      case .installing(_, let next, _): deadline = min(deadline, next)
      case .free, .relaying, .direct: break
      }
    }
    return deadline
  }

  /// True when the token's user still has the slot.
  func isLive(_ token: LoopToken) -> Bool {
    guard token.index < slots.count, token.isOf(generation: slots[token.index].generation) else { return false }
    if case .free = slots[token.index].phase { return false }
    return true
  }

  func token(_ kind: LoopToken.Kind, _ index: Int) -> UInt64 {
    LoopToken(kind, index: UInt32(index), generation: slots[index].generation).rawValue
  }
}
