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
    case .vacant, .embryonic, .collecting, .passed, .closing, .timeWait, .tombstone: false
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
    forgetKernelName(slot)
    table.slots[slot].phase = .deciding(attempt)
    tally.attemptsStarted &+= 1
    tally.attemptsUnderWay += 1
    timers.schedule(slot, at: min(now &+ configuration.decisionTimeout, giveUpAt(attempt)), now: now)
    actions.append(
      .decide(name(slot), target: attempt.target, route: attempt.route, excluded: attempt.excluded))
  }

  func giveUpAt(_ attempt: Attempt) -> UInt64 { attempt.requestedAt &+ configuration.placementTimeout }

  func name(_ slot: Int) -> HandoffID {
    let kernelName = table.slots[slot].kernelName
    if kernelName != 0 { return HandoffID(kernelName) }
    return HandoffID(slot: UInt32(slot), generation: table.slots[slot].generation)
  }

  /// The slot of an attempt that is still under way.
  func find(_ id: HandoffID) -> Int? {
    if id.isByKernel { return leased[id] }
    let slot = Int(id.slot)
    guard slot < table.slots.count, id.names(slot: id.slot, generation: table.slots[slot].generation) else {
      return nil
    }
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
    case .backEnd(let backEnd):
      let mayPass = attempt.number == 1 && mayPass(slot)
      handOff(slot, attempt, to: backEnd, by: mayPass ? .packetOrMessage : .message, now: now, into: &actions)
    case .noBackEnd:
      endAttempt(.noBackEnd)
      answer(slot, .unavailable, now: now, into: &actions)
    case .overloaded:
      endAttempt(.overloaded)
      answer(slot, .unavailable, now: now, into: &actions)
    }
  }

  // MARK: Handoff

  mutating func handOff(
    _ slot: Int, _ attempt: Attempt, to backEnd: UInt16, by way: HandoffWay, now: UInt64, into actions: inout ActionList
  ) {
    let snapshot = snapshot(slot, now: now)
    if attempt.number == 1, way != .messageAfterPacket { table.slots[slot].held.end = snapshot.receiveNext }
    table.slots[slot].phase = .handingOff(attempt, backEnd: backEnd)
    timers.schedule(slot, at: min(now &+ configuration.handoffTimeout, giveUpAt(attempt)), now: now)
    let count = table.slots[slot].assembler.contiguous
    let request = actions.store(buffers.bytes(table.slots[slot].buffer).span.extracting(0..<count))
    actions.append(.handOff(name(slot), backEnd: backEnd, snapshot: snapshot, request: request, way: way))
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

  /// Whether a handoff waits for a word of its back-end, or had one a moment ago.
  public func knows(_ id: HandoffID) -> Bool { find(id) != nil || unconfirmed.contains(id) }

  /// A back-end has recreated the connection. `backEnd` is the one whose control connection said so.
  public mutating func handoffAccepted(
    _ id: HandoffID, by backEnd: UInt16, now: UInt64, into actions: inout ActionList
  ) {
    if unconfirmed.take(id, at: backEnd) != nil {
      settleKept()
      return
    }
    if let slot = find(id), case .passed(_, backEnd) = table.slots[slot].phase {
      confirm(slot, now: now)
      return
    }
    guard let slot = find(id), case .handingOff(let attempt, let asked) = table.slots[slot].phase, asked == backEnd
    else {
      tally.lateAcceptances &+= 1
      // One that was never in the table: nothing of it is anywhere else.
      if id.isByKernel, find(id) == nil { return }
      if let slot = find(id), case .tombstone(backEnd) = table.slots[slot].phase { return }
      abort(id, at: backEnd, into: &actions)
      return
    }
    endAttempt(.accepted)
    if let end = pendingFIN(slot) { actions.append(.deliver(actions.store(end, payload: Span()), backEnd: backEnd)) }
    table.slots[slot].held.deliver(to: backEnd, from: &heldBuffers, into: &actions)
    // After the packets that were held: the kernel forwards from here on, and would let later ones overtake them.
    establish(slot, attempt, at: backEnd, into: &actions)
    finish(slot, .handedOff)
    bury(slot, backEnd, now: now)
  }

  /// Makes the kernel forward the client's packets.
  func establish(_ slot: Int, _ attempt: Attempt, at backEnd: UInt16, into actions: inout ActionList) {
    let connection = table.slots[slot]
    var isClosing = connection.held.isClosing
    if case .announced = connection.clientEnd { isClosing = true }
    actions.append(
      .flowEstablished(
        name(slot), flow: connection.flow, clientInitialSequence: connection.clientInitial,
        sendNext: connection.sendNext, backEnd: backEnd, isClosing: isClosing, requestedAt: attempt.requestedAt))
  }

  /// Nanoseconds less one: 134 ms.
  private static let tombstonesTogether: UInt64 = 1 << 27 - 1

  /// The connection is over here; late packets are still delivered.
  mutating func bury(_ slot: Int, _ backEnd: UInt16, now: UInt64) {
    table.slots[slot].phase = .tombstone(backEnd: backEnd)
    // Many end together: each by itself would wake the driver.
    let end = (now &+ configuration.tombstoneTime) | Responder.tombstonesTogether
    timers.schedule(slot, at: end, now: now)
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
    // Whoever asked has the last word: the packet makes no connection any more.
    table.slots[slot].held.answered = false
    retry(slot, HandoffOutcome(reason), now: now, into: &actions)
  }

  /// The control connection to a back-end broke: every handoff that it has not answered is as refused, but for those that
  /// went by packet. Takes time in proportion to the table.
  ///
  /// - Parameter isSilent: the node said nothing, not even that the connection is closed: it is gone altogether.
  public mutating func backEndLost(
    _ backEnd: UInt16, isSilent: Bool, now: UInt64, into actions: inout ActionList
  ) {
    for entry in unconfirmed.takeAll(at: backEnd) { _ = reveal(entry, now: now) }
    for slot in table.slots.indices {
      if case .passed(_, backEnd) = table.slots[slot].phase {
        if isSilent { withdraw(slot, now: now, into: &actions) } else { assume(slot, now: now) }
        continue
      }
      guard case .handingOff(let attempt, let asked) = table.slots[slot].phase, asked == backEnd else { continue }
      if attempt.mayStand, !isSilent {
        stay(slot, attempt, at: backEnd, now: now, into: &actions)
      } else {
        retry(slot, .lost, now: now, into: &actions)
      }
    }
  }

  /// Ends the handoff under way with `outcome` and asks for another back-end, as long as attempts and time last.
  mutating func retry(_ slot: Int, _ outcome: HandoffOutcome, now: UInt64, into actions: inout ActionList) {
    guard case .handingOff(var attempt, let backEnd) = table.slots[slot].phase else { return }
    if table.slots[slot].held.answered {
      // The back-end has said nothing, but the client has its bytes.
      stay(slot, attempt, at: backEnd, now: now, into: &actions)
      return
    }
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
    attempt.mayStand = false
    askForDecision(slot, attempt, now: now, into: &actions)
  }

  /// Gives up a handoff that the back-end may still take, and tells it so.
  mutating func abandonHandoff(_ slot: Int, now: UInt64, into actions: inout ActionList) {
    guard case .handingOff(_, let backEnd) = table.slots[slot].phase else { return }
    if !table.slots[slot].held.answered { abort(name(slot), at: backEnd, into: &actions) }
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
