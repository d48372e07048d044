// SPDX-License-Identifier: Apache-2.0

internal import ControlChannel
internal import ControlProtocol
internal import DispatcherCore
internal import LinuxKernel
internal import Logging
internal import Telemetry

extension DispatcherLoop {
  /// Reads what a peer sent and acts on it.
  mutating func receive(from peer: DispatcherPeer, now: UInt64) {
    peer.lastHeard = now
    state.handle(.heard(peer.id), now: now, &actions)
    do {
      try peer.connection.receive(now: now) { message in take(message, from: peer, now: now) }
    } catch {
      fail(peer, error, now: now)
    }
  }

  /// One message. The peer may be on its way out since an earlier message of the same read.
  private mutating func take(_ message: consuming Message, from peer: DispatcherPeer, now: UInt64) {
    counts.messagesReceived &+= 1
    switch (peer.phase, message) {
    case (.leaving, _), (_, .ping), (_, .pong): break
    case (_, .goodbye(let text)):
      logger.info("a node leaves", metadata: ["node": "\(peer.title)", "says": "\(text)"])
      remove(peer, .left, now: now)
    case (.greeting, .hello(let hello)): greet(hello, peer, now: now)
    case (.established(let hello), let message): take(message, from: peer, hello, now: now)
    case (.greeting, let message): refuse(peer, message, "before its hello", now: now)
    }
  }

  private mutating func take(_ message: Message, from peer: DispatcherPeer, _ hello: Hello, now: UInt64) {
    switch (hello.role, message) {
    case (.distributor, .decisionRequests(let requests)):
      peer.owesAnswer = true
      markDirty(peer)
      for request in requests { state.handle(.request(peer.id, request), now: now, &actions) }
      perform(now: now)
    case (.distributor, .assignmentsReturned(let backEnds)):
      for backEnd in backEnds { state.handle(.returned(backEnd), now: now, &actions) }
      perform(now: now)
    case (.distributor, .leaseAccounts(let accounts)):
      var (used, returned) = (BackEndSet(), BackEndSet())
      for account in accounts {
        state.handle(.leaseAccount(peer.id, account), now: now, &actions)
        if account.used > 0 { used = used.union(BackEndSet(account.backEnd)) }
        if account.returned > 0 { returned = returned.union(BackEndSet(account.backEnd)) }
      }
      // What comes back says that there were too many, or that the back-end refuses.
      state.handle(.leasesUsed(peer.id, used.subtracting(returned)), now: now, &actions)
      perform(now: now)
    case (.distributor, .registerDistributor(let registration)):
      handle(.registerDistributor(peer.id, registration), now: now)
    case (.backEnd, .loadReport(let report)): handle(.report(peer.id, report), now: now)
    case (.backEnd, .registerBackEnd(let registration)):
      logger.info("a server node registers", metadata: ["node": "\(peer.title)", "weight": "\(registration.weight)"])
      handle(
        .registerBackEnd(peer.id, name: hello.name, instance: hello.instance, registration), now: now)
    default: refuse(peer, message, "as a \(hello.role)", now: now)
    }
  }

  private mutating func greet(_ hello: Hello, _ peer: DispatcherPeer, now: UInt64) {
    if let refusal = refusal(of: hello, now: now) {
      leave(peer, .refused, refusal, now)
      return
    }
    peer.phase = .established(hello)
    if hello.role == .backEnd { takeAsReporter(peer) }
    send(
      .hello(
        Hello(role: .dispatcher, instance: configuration.instance, name: configuration.name)), to: peer)
    // Before anything that can be asked about.
    if hello.role == .distributor { send(.rules(rules), to: peer) }
    send(.clusterView(state.view), to: peer)
  }

  /// From now on what the peer says can wait a little. Should the kernel refuse, it goes on as before.
  private mutating func takeAsReporter(_ peer: DispatcherPeer) {
    let interest: Epoll.Interest = peer.isRegisteredForWrite ? [.read, .write, .peerHangUp] : [.read, .peerHangUp]
    do {
      try reports.members.add(peer.connection.descriptor, interest, token: peer.id.rawValue)
      try? epoll.remove(peer.connection.descriptor)
      peer.isReporter = true
    } catch {
      logger.warning("reports of a node wake the dispatcher one by one", metadata: ["error": "\(error)"])
    }
  }

  /// What is wrong with a hello, nil when nothing is.
  private mutating func refusal(of hello: Hello, now: UInt64) -> String? {
    guard hello.version == ControlProtocolVersion.current else {
      return "this dispatcher speaks control protocol version \(ControlProtocolVersion.current), "
        + "node \(hello.name) speaks version \(hello.version); install the same release on every node"
    }
    switch hello.role {
    case .dispatcher: return "this is a dispatcher too; a dispatcher takes distributors and server nodes only"
    case .backEnd: return nil
    case .distributor: break
    }
    // Several connections of one distributor process are its workers. Another process of that name is a mistake, unless
    // the old one is silent: then it is gone, and this is its successor.
    for other in Array(peers.values) {
      guard let known = other.hello, known.role == .distributor, known.name == hello.name,
        known.instance != hello.instance
      else { continue }
      if now - other.lastHeard < configuration.parameters.takeoverSilence {
        return DispatcherState.Dismissal.nameTaken(hello.name).text
      }
      leave(other, .replaced, DispatcherState.Dismissal.replaced(hello.name).text, now)
    }
    return nil
  }

  private mutating func refuse(_ peer: DispatcherPeer, _ message: Message, _ place: String, now: UInt64) {
    let kind = "\(message)".prefix { $0 != "(" }
    leave(peer, .protocolViolation, "a \(kind) message is not allowed \(place); check that the releases match", now)
  }

  // MARK: Actions

  /// Gives one event to the core and carries its actions out.
  mutating func handle(_ event: DispatcherState.Event, now: UInt64) {
    state.handle(event, now: now, &actions)
    perform(now: now)
  }

  /// Carries out what the core wants.
  mutating func perform(now: UInt64) {
    var last: DispatcherPeer?
    // Sending a peer away is an event of its own, whose actions join the list.
    var index = 0
    while index < actions.count {
      defer { index += 1 }
      switch actions[index] {
      case .answer(let id, let decision):
        if last?.id != id { last = peers[id.rawValue] }
        guard let last else { continue }
        last.decisions.append(decision)
        markDirty(last)
      case .renew(let id, let credit):
        guard let peer = peers[id.rawValue] else { continue }
        peer.credits.append(credit)
        markDirty(peer)
      case .spread(let id, let lease): spread(lease, from: id)
      case .publishView: isViewDirty = true
      case .dismiss(let id, let dismissal):
        guard let peer = peers[id.rawValue] else { continue }
        leave(peer, dismissal.end, dismissal.text, now)
      }
    }
    actions.removeAll(keepingCapacity: true)
  }

  /// To one worker of each other distributor: its workers share what they know of targets. Always the same worker, so that a
  /// later word about a target comes later.
  private mutating func spread(_ lease: TargetLease, from id: PeerID) {
    guard let asker = peers[id.rawValue]?.hello else { return }
    var tellers: [UInt64: DispatcherPeer] = [:]
    for peer in peers.values {
      guard let hello = peer.hello, hello.role == .distributor, hello.instance != asker.instance else { continue }
      if let other = tellers[hello.instance], other.id.rawValue < peer.id.rawValue { continue }
      tellers[hello.instance] = peer
    }
    for peer in tellers.values {
      peer.targets.append(lease)
      if peer.targets.count >= DispatcherPeer.targetsTogether { markDirty(peer) }
    }
  }

  mutating func markDirty(_ peer: DispatcherPeer) {
    guard !peer.isDirty else { return }
    peer.isDirty = true
    dirty.append(peer)
  }

  mutating func send(_ message: Message, to peer: DispatcherPeer) {
    counts.messagesSent &+= 1
    peer.connection.send(message)
    markDirty(peer)
  }

  /// Writes what this turn produced: the view if it changed, and one batch of decisions per peer. A write that fails ends
  /// its peer, which may change the view again.
  mutating func finishTurn(now: UInt64) {
    perform(now: now)
    while isViewDirty || !dirty.isEmpty {
      if isViewDirty {
        isViewDirty = false
        let view = Message.clusterView(state.view)
        for peer in peers.values where peer.hello != nil { send(view, to: peer) }
      }
      while let peer = dirty.popLast() {
        peer.isDirty = false
        guard peers[peer.id.rawValue] != nil else { continue }
        let answers = peer.owesAnswer
        if !peer.decisions.isEmpty || peer.owesAnswer {
          peer.owesAnswer = false
          counts.messagesSent &+= 1
          peer.connection.send(.decisions(peer.decisions))
          peer.decisions.removeAll(keepingCapacity: true)
        }
        if !peer.credits.isEmpty {
          counts.messagesSent &+= 1
          peer.connection.send(.leaseCredits(peer.credits))
          peer.credits.removeAll(keepingCapacity: true)
        }
        if !peer.targets.isEmpty {
          counts.messagesSent &+= 1
          peer.connection.send(.targetLeases(peer.targets))
          peer.targets.removeAll(keepingCapacity: true)
        }
        flush(peer, now: now)
        if answers { counts.held.observe(nanoseconds: MonotonicTime.now() &- now) }
      }
    }
  }

  private mutating func flush(_ peer: DispatcherPeer, now: UInt64) {
    do throws(ControlChannelError) {
      try peer.connection.flush()
      if peer.connection.queuedBytes > configuration.peerQueueLimit { throw .notReading }
      guard peer.connection.wantsWrite != peer.isRegisteredForWrite else { return }
      peer.isRegisteredForWrite = peer.connection.wantsWrite
      let interest: Epoll.Interest = peer.isRegisteredForWrite ? [.read, .write, .peerHangUp] : [.read, .peerHangUp]
      do {
        if peer.isReporter {
          try reports.members.modify(peer.connection.descriptor, interest, token: peer.id.rawValue)
        } else {
          try epoll.modify(peer.connection.descriptor, interest, token: peer.id.rawValue)
        }
      } catch {
        throw .system(error)
      }
    } catch {
      fail(peer, error, now: now)
    }
  }

  // MARK: Ends

  /// Says goodbye and waits, for a short time, until the peer closes: closing at once could reset the connection before the
  /// text is read.
  mutating func leave(_ peer: DispatcherPeer, _ end: PeerEnd, _ text: String, _ now: UInt64) {
    if case .leaving = peer.phase { return }
    logger.warning("a node is sent away", metadata: ["node": "\(peer.title)", "reason": "\(text)"])
    send(.goodbye(text), to: peer)
    peer.phase = .leaving(deadline: now + 1_000_000_000)
    count(end)
    state.handle(.lost(peer.id), now: now, &actions)
  }

  /// The connection failed.
  mutating func fail(_ peer: DispatcherPeer, _ error: ControlChannelError, now: UInt64) {
    let end: PeerEnd =
      switch error {
      case .closed: .closed
      case .malformed: .malformed
      case .silent: .silent
      case .notReading: .notReading
      case .system: .system
      }
    if case .leaving = peer.phase {
      remove(peer, nil, now: now)
      return
    }
    logger.info("a control connection ended", metadata: ["node": "\(peer.title)", "reason": "\(error)"])
    remove(peer, end, now: now)
  }

  /// Closes a connection.
  ///
  /// - Parameter end: nil when its end was counted already.
  mutating func remove(_ peer: DispatcherPeer, _ end: PeerEnd?, now: UInt64) {
    guard peers.removeValue(forKey: peer.id.rawValue) != nil else { return }
    if peer.isReporter {
      try? reports.members.remove(peer.connection.descriptor)
    } else {
      try? epoll.remove(peer.connection.descriptor)
    }
    peer.phase = .leaving(deadline: now)
    guard let end else { return }
    count(end)
    // Decisions of this turn that it never got: nobody else would give them back.
    for case .assigned(let backEnd) in peer.decisions.map(\.outcome) {
      state.handle(.returned(backEnd), now: now, &actions)
    }
    peer.decisions = []
    handle(.lost(peer.id), now: now)
  }

  private mutating func count(_ end: PeerEnd) {
    counts.ended[Int(end.rawValue)] += 1
    isChanged = true
  }

  /// The dispatcher ends: nodes learn it, and keep serving with what they know.
  mutating func sayGoodbye(now: UInt64) {
    for peer in Array(peers.values) {
      if peer.hello != nil { leave(peer, .stopping, "the dispatcher is stopping", now) }
    }
    actions.removeAll()
    isViewDirty = false
    finishTurn(now: now)
  }
}
