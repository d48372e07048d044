// SPDX-License-Identifier: Apache-2.0

internal import Wire

extension Responder {
  /// A segment that comes while a back-end may own the connection already. Its checks are left to that back-end's kernel,
  /// which knows more: the client may acknowledge bytes and fill a window that only the back-end has sent.
  mutating func hold(
    _ slot: Int, _ arrival: Arrival, _ packet: Span<UInt8>, into actions: inout ActionList
  ) -> PacketOutcome {
    let segment = arrival.segment
    let receiveNext = table.slots[slot].receiveNext
    let end = segment.sequence.advanced(by: arrival.length)
    if segment.flags.contains(.rst) {
      if segment.sequence == table.slots[slot].held.end {
        table.slots[slot].held.reset = true
        if case .deciding = table.slots[slot].phase {
          endAttempt(.clientGone)
          finish(slot, .clientReset)
          remove(slot)
          return .resetAccepted
        }
      }
    } else if !segment.flags.contains(.ack) {
      return .acknowledgmentMissing
    } else if arrival.length > 0, end <= receiveNext {
      // What the snapshot already contains; our acknowledgment was lost.
      acknowledge(slot, now: arrival.now, into: &actions)
      return .dataDuplicate
    }
    if segment.flags.contains(.ack), segment.acknowledgment > table.slots[slot].sendNext {
      table.slots[slot].held.answered = true
    }
    let isPlain = arrival.length == 0 && !segment.flags.contains(.rst)
    if isPlain, segment.acknowledgment == table.slots[slot].sendNext,
      segment.window == table.slots[slot].windowField || !isNewerWindow(slot, segment)
    {
      return .notHeld
    }
    if arrival.closes { table.slots[slot].held.isClosing = true }
    guard table.slots[slot].held.append(packet, to: &heldBuffers, limit: configuration.heldBytesPerConnection) else {
      return .holdExhausted
    }
    if end > table.slots[slot].held.end, segment.sequence <= table.slots[slot].held.end {
      table.slots[slot].held.end = end
    }
    return .held
  }

  /// A segment of a connection that was handed off a moment ago: it was queued for us before the flow table knew.
  mutating func receiveAfterHandoff(
    _ slot: Int, _ arrival: Arrival, _ packet: Span<UInt8>, _ backEnd: UInt16, into actions: inout ActionList
  ) -> PacketOutcome {
    guard arrival.isOpening else {
      deliverLate(slot, arrival, packet, backEnd, into: &actions)
      return .delivered
    }
    return reopen(slot, arrival, into: &actions)
  }

  mutating func deliverLate(
    _ slot: Int, _ arrival: Arrival, _ packet: Span<UInt8>, _ backEnd: UInt16, into actions: inout ActionList
  ) {
    actions.append(.deliver(actions.store(packet), backEnd: backEnd))
    if arrival.closes { actions.append(.flowClosing(name(slot), flow: arrival.flow)) }
  }

  /// A SYN for a connection that is over here: a late duplicate of its own, or a client that uses the port again.
  mutating func reopen(_ slot: Int, _ arrival: Arrival, into actions: inout ActionList) -> PacketOutcome {
    guard arrival.segment.sequence != table.slots[slot].clientInitial else { return .synDuplicate }
    guard accepting else { return .synWhileDraining }
    remove(slot)
    return listen(arrival, into: &actions)
  }
}
