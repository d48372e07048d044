// SPDX-License-Identifier: Apache-2.0

internal import Wire

extension Responder {
  /// Answers the client ourselves and closes.
  mutating func answer(_ slot: Int, _ status: StatusAnswer, now: UInt64, into actions: inout ActionList) {
    let reply = Reply.answer(
      status, withBody: !isHeadRequest(slot), date: epoch.map { $0 &+ now / 1_000_000_000 })
    beginClosing(slot, reply, ConnectionOutcome(status), now: now, into: &actions)
  }

  /// Closes without an answer.
  mutating func close(_ slot: Int, _ outcome: ConnectionOutcome, now: UInt64, into actions: inout ActionList) {
    beginClosing(slot, .nothing, outcome, now: now, into: &actions)
  }

  /// Looks at the bytes themselves: a head that is refused or incomplete may still say HEAD (RFC 9110 section 9.3.2).
  private func isHeadRequest(_ slot: Int) -> Bool {
    let memory = buffers.bytes(table.slots[slot].buffer)
    let bytes = memory.span.extracting(first: min(memory.count, table.slots[slot].assembler.contiguous))
    var start = 0
    while start < bytes.count, bytes[start] == 0x0d || bytes[start] == 0x0a { start += 1 }
    guard bytes.count - start >= 5 else { return false }
    return bytes.readUInt32(at: start) == 0x4845_4144 && bytes[start + 4] == 0x20
  }

  private mutating func beginClosing(
    _ slot: Int, _ reply: Reply, _ outcome: ConnectionOutcome, now: UInt64, into actions: inout ActionList
  ) {
    releaseBuffers(slot)
    if case .announced(let number) = table.slots[slot].clientEnd {
      if number == table.slots[slot].receiveNext {
        table.slots[slot].receiveNext = number.advanced(by: 1)
        table.slots[slot].clientEnd = .finished
      } else {
        // Something before it is missing; it will come again.
        table.slots[slot].clientEnd = .open
      }
    }
    answers.render(reply, into: &answerText)
    var closing = Closing(
      reply: reply, outcome: outcome, total: answerText.count + 1,
      retransmitAt: now &+ configuration.retransmissionTimeout, giveUpAt: now &+ configuration.answerTimeout)
    table.slots[slot].phase = .closing(closing)
    sendAnswer(slot, &closing, from: 0, atLeast: 0, now: now, into: &actions)
    wait(slot, closing, now: now)
  }

  /// Sends the answer from byte `first` on, as far as the client's window allows, but at least `atLeast` bytes.
  private mutating func sendAnswer(
    _ slot: Int, _ closing: inout Closing, from first: Int, atLeast: Int, now: UInt64, into actions: inout ActionList
  ) {
    answers.render(closing.reply, into: &answerText)
    let text = answerText
    let allowed = max(closing.acknowledged + Int(table.slots[slot].sendWindow), first + atLeast)
    let segmentSize = Int(table.slots[slot].maximumSegmentSize) - (table.slots[slot].clock == nil ? 0 : 12)
    let start = table.slots[slot].sendNext
    var position = first
    while position < closing.total {
      let count = min(segmentSize, text.count - position, allowed - position)
      guard count > 0 || position == text.count else { break }
      let isLast = position + count == text.count
      transmit(
        slot, from: start.advanced(by: position), flags: isLast ? [.ack, .psh, .fin] : .ack,
        payload: text.span.extracting(position..<position + count), now: now, into: &actions)
      position += count + (isLast ? 1 : 0)
    }
    closing.sent = max(closing.sent, position)
    table.slots[slot].phase = .closing(closing)
  }

  private mutating func wait(_ slot: Int, _ closing: Closing, now: UInt64) {
    let isAcknowledged = closing.acknowledged == closing.total
    timers.schedule(
      slot, at: isAcknowledged ? closing.giveUpAt : min(closing.retransmitAt, closing.giveUpAt), now: now)
  }

  /// A valid segment while we close: it may acknowledge our answer, and what it brings is thrown away (RFC 9112 section
  /// 9.6: a reset in answer to it could destroy the answer before the client has read it).
  mutating func receiveWhileClosing(
    _ slot: Int, _ arrival: Arrival, start: Int, into actions: inout ActionList
  ) -> PacketOutcome {
    guard case .closing(var closing) = table.slots[slot].phase else { return .acknowledgment }
    let acknowledged = table.slots[slot].sendNext.distance(to: arrival.segment.acknowledgment)
    if acknowledged > closing.acknowledged {
      closing.acknowledged = acknowledged
      closing.retransmissions = 0
      closing.retransmitAt = arrival.now &+ configuration.retransmissionTimeout
      if acknowledged == closing.total { closing.giveUpAt = arrival.now &+ configuration.lingerTimeout }
    }
    if closing.sent < closing.total {
      sendAnswer(slot, &closing, from: closing.sent, atLeast: 0, now: arrival.now, into: &actions)
    }
    table.slots[slot].phase = .closing(closing)
    let outcome = discardText(slot, arrival, start: start, into: &actions)
    if closing.acknowledged == closing.total, case .finished = table.slots[slot].clientEnd {
      finish(slot, closing.outcome)
      table.slots[slot].phase = .timeWait(sendNext: table.slots[slot].sendNext.advanced(by: closing.total))
      timers.schedule(slot, at: arrival.now &+ configuration.timeWait, now: arrival.now)
    } else {
      wait(slot, closing, now: arrival.now)
    }
    return outcome
  }

  private mutating func discardText(
    _ slot: Int, _ arrival: Arrival, start: Int, into actions: inout ActionList
  ) -> PacketOutcome {
    guard arrival.length > 0 else { return .acknowledgment }
    defer { acknowledge(slot, now: arrival.now, into: &actions) }
    guard start <= 0 else { return .dataOutOfOrder }
    if case .finished = table.slots[slot].clientEnd { return .dataDuplicate }
    let fresh = max(0, start + arrival.payload.count)
    table.slots[slot].receiveNext = table.slots[slot].receiveNext.advanced(by: fresh)
    if arrival.hasFIN {
      table.slots[slot].receiveNext = table.slots[slot].receiveNext.advanced(by: 1)
      table.slots[slot].clientEnd = .finished
    }
    return arrival.payload.isEmpty ? .fin : .dataDiscarded
  }

  /// TIME_WAIT: our last acknowledgment may have been lost. Resets are ignored (RFC 1337 section 3).
  mutating func receiveInTimeWait(
    _ slot: Int, _ arrival: Arrival, _ packet: Span<UInt8>, _ sendNext: SequenceNumber, into actions: inout ActionList
  ) -> PacketOutcome {
    if arrival.isOpening { return reopen(slot, arrival, into: &actions) }
    if !arrival.flags.contains(.rst), arrival.length > 0 { challenge(slot, now: arrival.now, into: &actions) }
    return .timeWait
  }

  // MARK: Timers

  /// The timer of a closing connection: send again, or give up.
  mutating func expireClosing(_ slot: Int, _ closing: Closing, now: UInt64, into actions: inout ActionList) {
    var closing = closing
    let isAcknowledged = closing.acknowledged == closing.total
    if isAcknowledged || now >= closing.giveUpAt || closing.retransmissions >= configuration.answerRetransmissions {
      if !isAcknowledged {
        tally.answersUnacknowledged &+= 1
        transmit(slot, from: sendNext(slot), flags: [.rst, .ack], now: now, into: &actions)
      }
      finish(slot, closing.outcome)
      remove(slot)
      return
    }
    closing.retransmissions += 1
    closing.retransmitAt = now &+ configuration.retransmissionTimeout << UInt64(closing.retransmissions)
    tally.answersRetransmitted &+= 1
    // At least a byte, also into a closed window: it is our window probe (RFC 9293 section 3.8.6.1).
    sendAnswer(slot, &closing, from: closing.acknowledged, atLeast: 1, now: now, into: &actions)
    wait(slot, closing, now: now)
  }
}
