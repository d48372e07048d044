// SPDX-License-Identifier: Apache-2.0

internal import HTTPHead
internal import Handoff
internal import Wire

extension Responder {
  /// A segment of a connection that is ours: the order of checks of RFC 9293 section 3.10.7.4, with RFC 7323 and 5961.
  mutating func receiveInConnection(
    _ slot: Int, _ arrival: Arrival, _ packet: Span<UInt8>, into actions: inout ActionList
  ) -> PacketOutcome {
    let segment = arrival.segment
    if segment.flags.contains(.syn) {
      if case .embryonic = table.slots[slot].phase, arrival.isOpening,
        segment.sequence == table.slots[slot].clientInitial
      {
        sendSynAck(slot, now: arrival.now, into: &actions)
        return .synRepeated
      }
      challenge(slot, now: arrival.now, into: &actions)
      return .synChallenged
    }
    if isFrozen(slot) { return hold(slot, arrival, packet, into: &actions) }
    if let rejected = checkTimestamps(slot, arrival, into: &actions) { return rejected }
    let start = table.slots[slot].receiveNext.distance(to: segment.sequence)
    let window = receiveWindow(slot)
    if segment.flags.contains(.rst) {
      return receiveReset(slot, arrival, isExact: start == 0, isInWindow: (0...window).contains(start), into: &actions)
    }
    if let rejected = checkWindow(slot, arrival, start: start, window: window, into: &actions) { return rejected }
    guard segment.flags.contains(.ack) else { return .acknowledgmentMissing }
    if let rejected = checkAcknowledgment(slot, arrival, into: &actions) { return rejected }
    // RFC 7323 section 4.3: only a segment that starts at or before what we acknowledged last moves ts.recent.
    if start <= 0, let timestamps = segment.options.timestamps { table.slots[slot].clock?.recent = timestamps.value }
    updateSendWindow(slot, segment)

    switch table.slots[slot].phase {
    case .embryonic:
      completeHandshake(slot, now: arrival.now)
      _ = receiveText(slot, arrival, packet, into: &actions)
      return .handshakeCompleted
    case .closing: return receiveWhileClosing(slot, arrival, start: start, into: &actions)
    case .collecting, .deciding, .handingOff, .passed, .vacant, .timeWait, .tombstone:
      return receiveText(slot, arrival, packet, into: &actions)
    }
  }

  private mutating func checkTimestamps(
    _ slot: Int, _ arrival: Arrival, into actions: inout ActionList
  ) -> PacketOutcome? {
    guard let clock = table.slots[slot].clock, !arrival.flags.contains(.rst) else { return nil }
    guard let timestamps = arrival.segment.options.timestamps else { return .timestampMissing }
    guard TimestampClock.isOlder(timestamps.value, than: clock.recent) else { return nil }
    challenge(slot, now: arrival.now, into: &actions)
    return .timestampOld
  }

  private mutating func checkWindow(
    _ slot: Int, _ arrival: Arrival, start: Int, window: Int, into actions: inout ActionList
  ) -> PacketOutcome? {
    let end = start + arrival.length
    if arrival.length == 0 {
      // A sender that has filled the window acknowledges from its right edge: one more than the RFC's table says.
      if (0...window).contains(start) { return nil }
    } else {
      if end > 0, start < max(window, 1) { return nil }
      if end <= 0 {
        // Our acknowledgment was lost: the client waits for it.
        acknowledge(slot, now: arrival.now, into: &actions)
        return .dataDuplicate
      }
    }
    challenge(slot, now: arrival.now, into: &actions)
    return .outOfWindow
  }

  private mutating func checkAcknowledgment(
    _ slot: Int, _ arrival: Arrival, into actions: inout ActionList
  ) -> PacketOutcome? {
    let first = table.slots[slot].sendNext
    let distance = first.distance(to: arrival.segment.acknowledgment)
    switch table.slots[slot].phase {
    case .embryonic:
      if distance == 0 || adoptCookie(slot, arrival) { return nil }
      sendReset(arrival, into: &actions)
      return .handshakeRefused
    case .closing(let closing):
      if (0...closing.sent).contains(distance) { return nil }
    case .collecting, .deciding, .handingOff, .passed, .vacant, .timeWait, .tombstone:
      if distance == 0 { return nil }
    }
    challenge(slot, now: arrival.now, into: &actions)
    return .acknowledgmentInvalid
  }

  /// RFC 5961 section 3: only a reset at exactly rcv.nxt ends the connection.
  private mutating func receiveReset(
    _ slot: Int, _ arrival: Arrival, isExact: Bool, isInWindow: Bool, into actions: inout ActionList
  ) -> PacketOutcome {
    guard isInWindow else { return .resetIgnored }
    guard isExact else {
      challenge(slot, now: arrival.now, into: &actions)
      return .resetChallenged
    }
    switch table.slots[slot].phase {
    case .embryonic:
      abandonHandshake(slot, .reset)
      return .resetAccepted
    case .deciding:
      endAttempt(.clientGone)
      finish(slot, .clientReset)
    case .closing(let closing): finish(slot, closing.outcome)
    case .collecting, .handingOff, .passed, .vacant, .timeWait, .tombstone: finish(slot, .clientReset)
    }
    remove(slot)
    return .resetAccepted
  }

  func isNewerWindow(_ slot: Int, _ segment: TCPSegment) -> Bool {
    table.slots[slot].windowSequence <= segment.sequence
  }

  mutating func updateSendWindow(_ slot: Int, _ segment: TCPSegment) {
    guard isNewerWindow(slot, segment) else { return }
    table.slots[slot].windowSequence = segment.sequence
    table.slots[slot].windowField = segment.window
    table.slots[slot].sendWindow = UInt32(segment.window) << UInt32(table.slots[slot].windowScale?.send ?? 0)
  }

  // MARK: Data

  /// Data and FIN while the head is collected or a first decision is awaited.
  mutating func receiveText(
    _ slot: Int, _ arrival: Arrival, _ packet: Span<UInt8>, into actions: inout ActionList
  ) -> PacketOutcome {
    guard arrival.length > 0 else { return .acknowledgment }
    let before = table.slots[slot].assembler.contiguous
    let outcome = store(slot, arrival, packet)
    if outcome == .bufferExhausted { return outcome }
    let after = table.slots[slot].assembler.contiguous
    table.slots[slot].receiveNext = table.slots[slot].origin.advanced(by: after)
    guard case .collecting = table.slots[slot].phase else {
      if !arrival.payload.isEmpty { acknowledge(slot, now: arrival.now, into: &actions) }
      return outcome
    }
    var result = RequestHeadResult.incomplete
    if after > before {
      let memory = buffers.bytes(table.slots[slot].buffer)
      result = table.slots[slot].scanner.scan(memory.span.extracting(0..<after))
    }
    switch result {
    case .complete(let head):
      // A request in one segment is acknowledged by the back-end, with the response as a rule. Of a longer one the client
      // may wait for our acknowledgment before it sends more than its first window.
      if arrival.payload.count < table.slots[slot].assembler.end {
        acknowledge(slot, now: arrival.now, into: &actions)
      }
      let target = buffers.bytes(table.slots[slot].buffer).span.extracting(head.routingTarget)
      let hash = configuration.targetKey.hash(target)
      let route = judge(head, slot)
      beginPlacing(slot, target: hash, route: route, now: arrival.now, into: &actions)
    case .invalid(let error):
      answer(slot, StatusAnswer(refusing: error.status), now: arrival.now, into: &actions)
    case .incomplete:
      if case .announced(let end) = table.slots[slot].clientEnd, end == table.slots[slot].receiveNext {
        // No more can come, so the request never ends. Nobody may be listening: closed without an answer.
        close(slot, .clientClosed, now: arrival.now, into: &actions)
      } else {
        acknowledge(slot, now: arrival.now, into: &actions)
      }
    }
    return outcome
  }

  /// Puts the payload, as far as it is new and within the window, into the receive buffer, and remembers the FIN.
  mutating func store(_ slot: Int, _ arrival: Arrival, _ packet: Span<UInt8>) -> PacketOutcome {
    let origin = table.slots[slot].origin
    let start = origin.distance(to: arrival.segment.sequence)
    let end = start + arrival.payload.count
    var limit = configuration.receiveLimit
    if case .announced(let number) = table.slots[slot].clientEnd { limit = min(limit, origin.distance(to: number)) }
    var assembler = table.slots[slot].assembler
    let from = max(start, assembler.contiguous)
    let to = min(end, limit)
    var outcome = PacketOutcome.dataDuplicate
    if from < to, assembler.gap(from: from, to: to) != nil {
      guard assembler.insert(from..<to) else { return .dataTooFragmented }
      let previous = table.slots[slot].assembler
      guard buffers.grow(&table.slots[slot].buffer, toHold: to, keeping: previous.end) else { return .bufferExhausted }
      var cursor = from
      while let gap = previous.gap(from: cursor, to: to) {
        let source = arrival.payload.lowerBound - start
        buffers.write(
          packet.extracting(source + gap.lowerBound..<source + gap.upperBound), to: table.slots[slot].buffer,
          at: gap.lowerBound)
        cursor = gap.upperBound
      }
      outcome = assembler.contiguous > previous.contiguous ? .dataInOrder : .dataOutOfOrder
      table.slots[slot].assembler = assembler
    }
    if arrival.hasFIN, end <= limit, end >= assembler.end, case .open = table.slots[slot].clientEnd {
      table.slots[slot].clientEnd = .announced(arrival.segment.sequence.advanced(by: arrival.payload.count))
    }
    return arrival.payload.isEmpty ? .fin : outcome
  }
}
