// SPDX-License-Identifier: Apache-2.0

public import Handoff
internal import Rules
internal import Wire

/// What the dispatcher (or the local rule in its place) said.
public enum DecisionOutcome: Hashable, Sendable, BitwiseCopyable {
  case backEnd(UInt16)
  /// No back-end is up, or only the excluded one.
  case noBackEnd
  /// The cluster takes no more connections now.
  case overloaded
}

extension Responder {
  /// Whether the snapshot of this connection has been given away: from then on its state must not change.
  func isFrozen(_ slot: Int) -> Bool {
    switch table.slots[slot].phase {
    case .handingOff: true
    case .deciding(let attempt): attempt.number > 1
    case .vacant, .embryonic, .collecting, .closing, .timeWait, .tombstone: false
    }
  }

  // MARK: Decision

  mutating func beginPlacing(
    _ slot: Int, target: UInt64, route: Route, now: UInt64, into actions: inout ActionList
  ) {
    let attempt = Attempt(number: 1, target: target, route: route, excluded: nil, requestedAt: now)
    askForDecision(slot, attempt, now: now, into: &actions)
  }

  private mutating func askForDecision(
    _ slot: Int, _ attempt: Attempt, now: UInt64, into actions: inout ActionList
  ) {
    // Each attempt has a name of its own, so that a late answer to an earlier one meets nothing.
    table.slots[slot].generation &+= 1
    table.slots[slot].phase = .deciding(attempt)
    tally.attemptsStarted &+= 1
    tally.attemptsUnderWay += 1
    timers.schedule(slot, at: min(now &+ configuration.decisionTimeout, giveUpAt(attempt)), now: now)
    actions.append(
      .decide(name(slot), target: attempt.target, route: attempt.route, excluded: attempt.excluded))
  }

  private func giveUpAt(_ attempt: Attempt) -> UInt64 { attempt.requestedAt &+ configuration.placementTimeout }

  private func name(_ slot: Int) -> HandoffID {
    HandoffID(slot: UInt32(slot), generation: table.slots[slot].generation)
  }

  /// The slot of an attempt that is still under way.
  private func find(_ id: HandoffID) -> Int? {
    let slot = Int(id.slot)
    guard slot < table.slots.count, table.slots[slot].generation == id.generation else { return nil }
    return slot
  }

  /// The answer to `.decide`. May come late, twice or never.
  public mutating func decided(
    _ id: HandoffID, _ outcome: DecisionOutcome, now: UInt64, into actions: inout ActionList
  ) {
    guard let slot = find(id), case .deciding(let attempt) = table.slots[slot].phase else {
      tally.lateDecisions &+= 1
      if case .backEnd(let backEnd) = outcome { returnAssignment(backEnd, into: &actions) }
      return
    }
    switch outcome {
    case .backEnd(let backEnd): handOff(slot, attempt, to: backEnd, now: now, into: &actions)
    case .noBackEnd:
      endAttempt(.noBackEnd)
      answer(slot, .unavailable, now: now, into: &actions)
    case .overloaded:
      endAttempt(.overloaded)
      answer(slot, .unavailable, now: now, into: &actions)
    }
  }

  // MARK: Handoff

  private mutating func handOff(
    _ slot: Int, _ attempt: Attempt, to backEnd: UInt16, now: UInt64, into actions: inout ActionList
  ) {
    let snapshot = snapshot(slot, now: now)
    if attempt.number == 1 { table.slots[slot].held.end = snapshot.receiveNext }
    table.slots[slot].phase = .handingOff(attempt, backEnd: backEnd)
    timers.schedule(slot, at: min(now &+ configuration.handoffTimeout, giveUpAt(attempt)), now: now)
    let count = table.slots[slot].assembler.contiguous
    let request = actions.store(buffers.bytes(table.slots[slot].buffer).span.extracting(0..<count))
    actions.append(.handOff(name(slot), backEnd: backEnd, snapshot: snapshot, request: request))
  }

  private func snapshot(_ slot: Int, now: UInt64) -> TCPSnapshot {
    let connection = table.slots[slot]
    return TCPSnapshot(
      flow: connection.flow, sendNext: connection.sendNext, receiveNext: connection.receiveNext,
      clientInitialSequence: connection.clientInitial, sendWindow: connection.sendWindow,
      receiveWindow: UInt32(receiveWindow(slot)), maximumSegmentSize: connection.maximumSegmentSize,
      windowScale: connection.windowScale, sackPermitted: connection.sackPermitted,
      timestamps: connection.clock.map { clock in
        // Later than all we sent, and no earlier than now: the back-end's clock runs on from here.
        let present = clock.value(at: now)
        return .init(nextValue: present == clock.lastSent ? present &+ 1 : present, recent: clock.recent)
      })
  }

  /// A back-end has recreated the connection. `backEnd` is the one whose control connection said so.
  public mutating func handoffAccepted(
    _ id: HandoffID, by backEnd: UInt16, now: UInt64, into actions: inout ActionList
  ) {
    guard let slot = find(id), case .handingOff(let attempt, let asked) = table.slots[slot].phase, asked == backEnd
    else {
      tally.lateAcceptances &+= 1
      if let slot = find(id), case .tombstone(backEnd) = table.slots[slot].phase { return }
      abort(id, at: backEnd, into: &actions)
      return
    }
    endAttempt(.accepted)
    let flow = table.slots[slot].flow
    if let end = pendingFIN(slot) { actions.append(.deliver(actions.store(end, payload: Span()), backEnd: backEnd)) }
    table.slots[slot].held.deliver(to: backEnd, from: &heldBuffers, into: &actions)
    // After the packets that were held: the kernel forwards from here on, and would let later ones overtake them.
    actions.append(
      .flowEstablished(
        id, flow: flow, clientInitialSequence: table.slots[slot].clientInitial, backEnd: backEnd,
        requestedAt: attempt.requestedAt))
    finish(slot, .handedOff)
    table.slots[slot].phase = .tombstone(backEnd: backEnd)
    timers.schedule(slot, at: now &+ configuration.tombstoneTime, now: now)
  }

  /// The client's FIN, if it came before the snapshot, as a segment of its own at rcv.nxt. It was not acknowledged: the
  /// back-end's kernel has to see it.
  private func pendingFIN(_ slot: Int) -> TCPSegment? {
    let connection = table.slots[slot]
    guard case .announced(let number) = connection.clientEnd, number == connection.receiveNext else { return nil }
    return TCPSegment(
      source: connection.flow.client, destination: connection.flow.service, sequence: number,
      acknowledgment: connection.sendNext, flags: [.fin, .ack], window: connection.windowField,
      options: TCPOptions(
        timestamps: connection.clock.map { TCPTimestamps(value: $0.recent, echo: $0.lastSent) }))
  }

  /// A back-end did not take the connection: another is asked for.
  public mutating func handoffRefused(
    _ id: HandoffID, _ reason: HandoffRefusal, now: UInt64, into actions: inout ActionList
  ) {
    guard let slot = find(id), case .handingOff = table.slots[slot].phase else {
      tally.lateRefusals &+= 1
      return
    }
    retry(slot, HandoffOutcome(reason), now: now, into: &actions)
  }

  /// The control connection to a back-end broke: every handoff that it has not answered is as refused. Takes time in
  /// proportion to the table.
  public mutating func backEndLost(_ backEnd: UInt16, now: UInt64, into actions: inout ActionList) {
    for slot in table.slots.indices {
      guard case .handingOff(_, let asked) = table.slots[slot].phase, asked == backEnd else { continue }
      retry(slot, .lost, now: now, into: &actions)
    }
  }

  /// Ends the handoff under way with `outcome` and asks for another back-end, as long as attempts and time last.
  mutating func retry(_ slot: Int, _ outcome: HandoffOutcome, now: UInt64, into actions: inout ActionList) {
    guard case .handingOff(var attempt, let backEnd) = table.slots[slot].phase else { return }
    endAttempt(outcome)
    returnAssignment(backEnd, into: &actions)
    if table.slots[slot].held.reset {
      finish(slot, .clientReset)
      remove(slot)
      return
    }
    guard attempt.number < configuration.maximumAttempts, now < giveUpAt(attempt) else {
      answer(slot, .unavailable, now: now, into: &actions)
      return
    }
    attempt.number += 1
    attempt.excluded = backEnd
    askForDecision(slot, attempt, now: now, into: &actions)
  }

  /// Gives up a handoff that the back-end may still take, and tells it so.
  mutating func abandonHandoff(_ slot: Int, now: UInt64, into actions: inout ActionList) {
    guard case .handingOff(_, let backEnd) = table.slots[slot].phase else { return }
    abort(name(slot), at: backEnd, into: &actions)
    retry(slot, .timedOut, now: now, into: &actions)
  }

  /// Ends a handoff under way that nobody wants any more.
  mutating func dropHandoff(_ slot: Int, into actions: inout ActionList) {
    guard case .handingOff(_, let backEnd) = table.slots[slot].phase else { return }
    abort(name(slot), at: backEnd, into: &actions)
    endAttempt(.clientGone)
    returnAssignment(backEnd, into: &actions)
  }

  mutating func endAttempt(_ outcome: HandoffOutcome) {
    tally.attempts.count(outcome)
    tally.attemptsUnderWay -= 1
  }

  private mutating func returnAssignment(_ backEnd: UInt16, into actions: inout ActionList) {
    tally.assignmentsReturned &+= 1
    actions.append(.returnAssignment(backEnd))
  }

  private mutating func abort(_ id: HandoffID, at backEnd: UInt16, into actions: inout ActionList) {
    tally.handoffsAborted &+= 1
    actions.append(.abortHandoff(id, backEnd: backEnd))
  }
}
