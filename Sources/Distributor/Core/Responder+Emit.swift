// SPDX-License-Identifier: Apache-2.0

internal import Handoff
internal import Wire

extension Responder {
  /// What the receive window has left, in bytes.
  func receiveWindow(_ slot: Int) -> Int {
    if case .closing = table.slots[slot].phase { return configuration.receiveLimit }
    return max(0, configuration.receiveLimit - table.slots[slot].assembler.contiguous)
  }

  /// The window field for it. With scaling the right edge may fall short of what was announced before by less than one
  /// unit (RFC 7323 section 2.4); data up to the true edge is taken all the same.
  private func windowField(_ slot: Int) -> UInt16 {
    let shift = table.slots[slot].windowScale?.receive ?? 0
    return UInt16(min(receiveWindow(slot) >> Int(shift), 65_535))
  }

  /// snd.nxt.
  func sendNext(_ slot: Int) -> SequenceNumber {
    switch table.slots[slot].phase {
    case .closing(let closing): table.slots[slot].sendNext.advanced(by: closing.sent)
    case .timeWait(let sendNext): sendNext
    case .vacant, .embryonic, .collecting, .deciding, .handingOff, .passed, .tombstone: table.slots[slot].sendNext
    }
  }

  /// Sends a segment of an established connection.
  mutating func transmit(
    _ slot: Int, from sequence: SequenceNumber, flags: TCPFlags, payload: Span<UInt8> = Span(), now: UInt64,
    into actions: inout ActionList
  ) {
    var segment = TCPSegment(
      source: table.slots[slot].flow.service, destination: table.slots[slot].flow.client, sequence: sequence,
      acknowledgment: table.slots[slot].receiveNext, flags: flags, window: windowField(slot))
    if let clock = table.slots[slot].clock {
      // While a back-end may own the connection already our clock stands still: had we sent later values than the
      // snapshot promised, the client's PAWS check would drop the back-end's first segments.
      let value = isFrozen(slot) ? clock.lastSent : clock.value(at: now)
      table.slots[slot].clock?.lastSent = value
      segment.options.timestamps = TCPTimestamps(value: value, echo: clock.recent)
    }
    send(segment, payload: payload, into: &actions)
  }

  mutating func send(_ segment: TCPSegment, payload: Span<UInt8> = Span(), into actions: inout ActionList) {
    tally.segmentsSent &+= 1
    actions.append(.transmit(actions.store(segment, payload: payload)))
  }

  mutating func acknowledge(_ slot: Int, now: UInt64, into actions: inout ActionList) {
    transmit(slot, from: sendNext(slot), flags: .ack, now: now, into: &actions)
  }

  /// An acknowledgment that a segment without right provoked: limited, so that two confused ends, or somebody who forges
  /// one of them, cannot keep us busy (RFC 5961 section 7).
  mutating func challenge(_ slot: Int, now: UInt64, into actions: inout ActionList) {
    guard now >= table.slots[slot].quietUntil else {
      tally.challengesSuppressed &+= 1
      return
    }
    table.slots[slot].quietUntil = now &+ configuration.challengeInterval
    tally.challengesSent &+= 1
    acknowledge(slot, now: now, into: &actions)
  }

  /// The SYN-ACK of an embryonic connection, also a repeated one.
  mutating func sendSynAck(_ slot: Int, now: UInt64, into actions: inout ActionList) {
    let connection = table.slots[slot]
    var options = TCPOptions(
      maximumSegmentSize: announcedSegmentSize(connection.flow), windowScale: connection.windowScale?.receive,
      sackPermitted: connection.sackPermitted)
    if let clock = connection.clock {
      let value = clock.value(at: now)
      table.slots[slot].clock?.lastSent = value
      options.timestamps = TCPTimestamps(value: value, echo: clock.recent)
    }
    sendSynAck(
      connection.flow, connection.initialSequence, acknowledging: connection.receiveNext, options: options,
      into: &actions)
  }

  mutating func sendSynAck(
    _ flow: FlowTuple, _ initialSequence: SequenceNumber, acknowledging: SequenceNumber, options: TCPOptions,
    into actions: inout ActionList
  ) {
    // The window of a SYN is never scaled (RFC 7323 section 2.2).
    let segment = TCPSegment(
      source: flow.service, destination: flow.client, sequence: initialSequence, acknowledgment: acknowledging,
      flags: [.syn, .ack], window: UInt16(configuration.receiveLimit), options: options)
    send(segment, into: &actions)
  }

  func announcedSegmentSize(_ flow: FlowTuple) -> UInt16 {
    flow.service.address.isIPv4 ? configuration.maximumSegmentSizeIPv4 : configuration.maximumSegmentSizeIPv6
  }

  /// Answers a segment of no connection (RFC 9293 section 3.10.7.1). For packets that came as `.unknownFlow` and that the
  /// flow table does not know either.
  public mutating func refuseUnknown(_ packet: Span<UInt8>, now: UInt64, into actions: inout ActionList) {
    guard let parsed = try? TCPSegment.parse(packet, checksums: .ignored) else { return }
    let arrival = Arrival(parsed, now: now)
    if configuration.handshakeInKernel, !orphans.isOverdue(keys.table.hash(arrival.flow), now: now) {
      tally.orphansSpared &+= 1
      return
    }
    sendReset(arrival, into: &actions)
  }

  /// The reset for a segment that should not have come; never in answer to a reset.
  mutating func sendReset(_ arrival: Arrival, into actions: inout ActionList) {
    guard !arrival.flags.contains(.rst) else { return }
    guard resetLimit.allows(at: arrival.now) else {
      tally.resetsSuppressed &+= 1
      return
    }
    tally.resetsSent &+= 1
    let segment = arrival.segment
    var reset = TCPSegment(
      source: segment.destination, destination: segment.source, sequence: segment.acknowledgment, flags: .rst)
    if !segment.flags.contains(.ack) {
      reset.sequence = SequenceNumber(0)
      reset.acknowledgment = segment.sequence.advanced(by: arrival.length)
      reset.flags = [.rst, .ack]
    }
    send(reset, into: &actions)
  }
}
