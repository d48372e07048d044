// SPDX-License-Identifier: Apache-2.0

public import Handoff
internal import Wire

/// Handoffs that go as one packet to the node's kernel (docs/design/packet-handoff.md). The client's packets follow it at
/// once; the agent's word that the connection stands comes later, with many others.
///
/// Until that word nobody here knows whether the back-end serves the request. It is given to another one only when the agent
/// says that it will never have it, or when the node is silent altogether and the client has not acknowledged a byte of an
/// answer.
extension Responder {
  /// Whether a handoff may go by packet: nothing but the request is to be delivered.
  func mayPass(_ slot: Int) -> Bool {
    guard case .open = table.slots[slot].clientEnd else { return false }
    return table.slots[slot].assembler.contiguous == table.slots[slot].assembler.end
  }

  /// The driver has entered the flow and sent the handoff by packet.
  public mutating func handoffPassed(_ id: HandoffID, now: UInt64, into actions: inout ActionList) {
    guard let slot = find(id), case .handingOff(let attempt, let backEnd) = table.slots[slot].phase else { return }
    tally.packetHandoffs &+= 1
    table.slots[slot].phase = .passed(attempt, backEnd: backEnd)
    timers.schedule(slot, at: now &+ configuration.packetTimeout, now: now)
    establish(slot, attempt, at: backEnd, into: &actions)
  }

  /// A packet that was queued for us before the flow table knew, or while the entry was not there.
  mutating func receiveWhilePassed(
    _ slot: Int, _ arrival: Arrival, _ packet: Span<UInt8>, _ backEnd: UInt16, into actions: inout ActionList
  ) -> PacketOutcome {
    if arrival.isOpening {
      // Before anything else the client's own SYN, repeated; later it uses the port again.
      if arrival.segment.sequence == table.slots[slot].clientInitial { return .synDuplicate }
      if !accepting {
        confirm(slot, now: arrival.now)
        return .synWhileDraining
      }
      settle(slot)
      return reopen(slot, arrival, into: &actions)
    }
    // What the packet contains: acknowledged by the back-end.
    if arrival.length > 0, arrival.segment.sequence.advanced(by: arrival.length) <= table.slots[slot].receiveNext {
      return .dataDuplicate
    }
    deliverLate(slot, arrival, packet, backEnd, into: &actions)
    return .delivered
  }

  /// The connection is over at the back-end, which says so instead of accepting it.
  ///
  /// - Returns: whether this was the first word about a handoff by packet.
  @discardableResult
  public mutating func handoffEnded(
    _ id: HandoffID, by backEnd: UInt16, now: UInt64, into actions: inout ActionList
  ) -> Bool {
    if unconfirmed.take(id, at: backEnd) != nil {
      settleKept()
      return true
    }
    guard let slot = find(id) else { return false }
    switch table.slots[slot].phase {
    case .passed(_, backEnd):
      confirm(slot, now: now)
      return true
    case .handingOff(_, backEnd): handoffAccepted(id, by: backEnd, now: now, into: &actions)
    default: break
    }
    return false
  }

  /// The back-end has the connection.
  mutating func confirm(_ slot: Int, now: UInt64) {
    guard case .passed(_, let backEnd) = table.slots[slot].phase else { return }
    settle(slot)
    // What the kernel handed off was in its table before: no packet of the connection is under way to this worker.
    if table.slots[slot].kernelName != 0 { remove(slot) } else { bury(slot, backEnd, now: now) }
  }

  /// Counts a handoff by packet as made. The slot is to be removed or buried.
  mutating func settle(_ slot: Int) {
    endAttempt(.accepted)
    finish(slot, .handedOff)
  }

  /// The back-end cannot be asked, but its node lives: what the packet began goes on there.
  mutating func assume(_ slot: Int, now: UInt64) {
    tally.packetHandoffsAssumed &+= 1
    confirm(slot, now: now)
  }

  /// The agent wants the handoff as a message: no connection came of the packet.
  public mutating func handoffWanted(_ id: HandoffID, by backEnd: UInt16, now: UInt64, into actions: inout ActionList) {
    if let entry = unconfirmed.take(id, at: backEnd) { _ = reveal(entry, now: now) }
    guard let slot = find(id), case .passed(_, backEnd) = table.slots[slot].phase else {
      tally.lateRefusals &+= 1
      return
    }
    tally.packetHandoffsDeclined &+= 1
    takeBack(slot, into: &actions)
  }

  /// No word came in time: the packet was lost, or the agent is slow.
  mutating func withdraw(_ slot: Int, now: UInt64, into actions: inout ActionList) {
    guard case .passed(var attempt, let backEnd) = table.slots[slot].phase else { return }
    attempt.mayStand = true
    table.slots[slot].phase = .passed(attempt, backEnd: backEnd)
    tally.packetHandoffsUnconfirmed &+= 1
    takeBack(slot, into: &actions)
    // In case the driver does not answer.
    timers.schedule(slot, at: now &+ configuration.packetTimeout, now: now)
  }

  private func takeBack(_ slot: Int, into actions: inout ActionList) {
    actions.append(
      .withdrawFlow(
        name(slot), flow: table.slots[slot].flow, clientInitialSequence: table.slots[slot].clientInitial))
  }

  /// The answer to `.withdrawFlow`.
  ///
  /// - Parameter isAnswered: the client has acknowledged bytes of the back-end.
  public mutating func flowWithdrawn(
    _ id: HandoffID, isAnswered: Bool, now: UInt64, into actions: inout ActionList
  ) {
    guard let slot = find(id), case .passed(let attempt, let backEnd) = table.slots[slot].phase else { return }
    if isAnswered {
      establish(slot, attempt, at: backEnd, into: &actions)
      confirm(slot, now: now)
    } else {
      handOff(slot, attempt, to: backEnd, by: .messageAfterPacket, now: now, into: &actions)
    }
  }

  /// Leaves a connection where its packet went: the client has bytes from there, or may get some.
  mutating func stay(
    _ slot: Int, _ attempt: Attempt, at backEnd: UInt16, now: UInt64, into actions: inout ActionList
  ) {
    tally.packetHandoffsAssumed &+= 1
    endAttempt(.accepted)
    table.slots[slot].held.deliver(to: backEnd, from: &heldBuffers, into: &actions)
    establish(slot, attempt, at: backEnd, into: &actions)
    finish(slot, .handedOff)
    bury(slot, backEnd, now: now)
  }
}
