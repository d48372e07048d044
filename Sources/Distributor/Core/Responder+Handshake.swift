// SPDX-License-Identifier: Apache-2.0

internal import HTTPHead
internal import Handoff
internal import Wire

extension Responder {
  /// A segment of a flow that is not in the table: a SYN, the end of a handshake by cookie, or none of ours.
  mutating func receiveUnknown(
    _ arrival: Arrival, _ packet: Span<UInt8>, into actions: inout ActionList
  ) -> PacketOutcome {
    guard services.contains(arrival.segment.destination) else { return .notService }
    guard arrival.segment.source.isAnswerable, arrival.segment.source != arrival.segment.destination else {
      return .implausible
    }
    if arrival.isOpening { return listen(arrival, into: &actions) }
    if arrival.now < cookiesUntil, arrival.flags.contains(.ack), arrival.flags.isDisjoint(with: [.syn, .rst]) {
      if let outcome = acceptCookie(arrival, packet, into: &actions) { return outcome }
    }
    actions.append(.unknownFlow(actions.store(packet)))
    return .unknownFlow
  }

  /// A SYN for no connection: RFC 9293 section 3.10.7.2. Data on it is not taken; the client sends it again.
  mutating func listen(_ arrival: Arrival, into actions: inout ActionList) -> PacketOutcome {
    guard accepting else { return .synWhileDraining }
    let segment = arrival.segment
    if tally.embryonic >= UInt64(configuration.maximumEmbryonic) || !hasRoom {
      sendCookie(arrival, into: &actions)
      return .synCookieSent
    }
    let slot = table.insert(
      connection(
        arrival.flow, clientInitial: segment.sequence, initialSequence: initialSequence(arrival.flow, now: arrival.now),
        segmentSize: segment.options.maximumSegmentSize ?? defaultSegmentSize(arrival.flow),
        windowScale: segment.options.windowScale, sackPermitted: segment.options.sackPermitted, arrival))
    table.slots[slot].phase = .embryonic(retransmissions: 0)
    tally.handshakesStarted &+= 1
    tally.embryonic += 1
    sendSynAck(slot, now: arrival.now, into: &actions)
    timers.schedule(slot, at: arrival.now &+ configuration.retransmissionTimeout, now: arrival.now)
    return .synAccepted
  }

  private mutating func sendCookie(_ arrival: Arrival, into actions: inout ActionList) {
    let segment = arrival.segment
    let cookie = SynCookie(keys: keys.handshake, flow: arrival.flow, clientInitial: segment.sequence)
    let offer = CookieOffer(
      maximumSegmentSize: segment.options.maximumSegmentSize ?? defaultSegmentSize(arrival.flow),
      windowScale: segment.options.windowScale, sackPermitted: segment.options.sackPermitted)
    guard let number = cookie.make(offer, now: arrival.now) else { return }
    var options = TCPOptions(
      maximumSegmentSize: announcedSegmentSize(arrival.flow),
      windowScale: segment.options.windowScale.map { _ in configuration.windowScale },
      sackPermitted: segment.options.sackPermitted)
    if let timestamps = segment.options.timestamps {
      let value = CookieTimestamp.encode(
        timestampClock(arrival.flow, recent: 0, now: arrival.now).lastSent, windowScale: segment.options.windowScale)
      options.timestamps = TCPTimestamps(value: value, echo: timestamps.value)
    }
    if !configuration.handshakeInKernel { cookiesUntil = arrival.now &+ SynCookie.lifetime }
    sendSynAck(
      arrival.flow, number, acknowledging: segment.sequence.advanced(by: 1), options: options, into: &actions)
  }

  /// Takes a segment whose numbers are a cookie of ours; nil when they are not. It may carry data: the client's pure
  /// acknowledgment may have been lost, or dropped because the table was full.
  mutating func acceptCookie(
    _ arrival: Arrival, _ packet: Span<UInt8>, into actions: inout ActionList
  ) -> PacketOutcome? {
    let segment = arrival.segment
    let clientInitial = segment.sequence.advanced(by: -1)
    let number = segment.acknowledgment.advanced(by: -1)
    let cookie = SynCookie(keys: keys.handshake, flow: arrival.flow, clientInitial: clientInitial)
    guard let offer = cookie.validate(number, now: arrival.now) else {
      tally.cookiesRejected &+= 1
      return nil
    }
    if let entry = unconfirmed.take(arrival.flow, hash: keys.table.hash(arrival.flow)) {
      // A copy of the request that was on its way here when the other one was handed off; else the client's next connection.
      if entry.clientInitial == clientInitial {
        guard let slot = reveal(entry, now: arrival.now) else { return .dataDuplicate }
        return receiveWhilePassed(slot, arrival, packet, entry.handoff.backEnd, into: &actions)
      }
      settleKept()
    }
    guard hasRoom else { return .tableFull }
    let slot = enterByCookie(arrival, offer, number)
    open(slot, now: arrival.now)
    _ = receiveText(slot, arrival, packet, into: &actions)
    return .cookieAccepted
  }

  /// Enters a connection whose handshake is known by its cookie alone, which has no phase yet. The table has room.
  mutating func enterByCookie(_ arrival: Arrival, _ offer: CookieOffer, _ number: SequenceNumber) -> Int {
    let segment = arrival.segment
    var windowScale = offer.windowScale
    if let least = windowScale, let timestamps = segment.options.timestamps {
      windowScale = CookieTimestamp.windowScale(in: timestamps.echo, atLeast: least)
    }
    let slot = table.insert(
      connection(
        arrival.flow, clientInitial: segment.sequence.advanced(by: -1), initialSequence: number,
        segmentSize: offer.maximumSegmentSize, windowScale: windowScale, sackPermitted: offer.sackPermitted, arrival))
    updateSendWindow(slot, segment)
    return slot
  }

  /// With the handshake in the kernel nobody tells us when a client begins a new connection on its old port: the first
  /// that we see of it is a segment with a cookie of its own. What we had of the old connection is void then. Nil when the
  /// segment belongs to the connection that we know.
  mutating func supersede(
    _ slot: Int, _ arrival: Arrival, _ packet: Span<UInt8>, into actions: inout ActionList
  ) -> PacketOutcome? {
    guard configuration.handshakeInKernel, arrival.flags.contains(.ack), arrival.flags.isDisjoint(with: [.syn, .rst])
    else { return nil }
    let clientInitial = arrival.segment.sequence.advanced(by: -1)
    // All that we expect acknowledges what we sent; looking at cookies is for the rest.
    switch table.slots[slot].phase {
    case .passed, .tombstone, .timeWait: break
    case .closing(let closing):
      if (0...closing.sent).contains(table.slots[slot].sendNext.distance(to: arrival.segment.acknowledgment)) {
        return nil
      }
    case .vacant, .embryonic, .collecting, .deciding, .handingOff:
      if arrival.segment.acknowledgment == table.slots[slot].sendNext { return nil }
    }
    guard clientInitial != table.slots[slot].clientInitial else { return nil }
    let cookie = SynCookie(keys: keys.handshake, flow: arrival.flow, clientInitial: clientInitial)
    guard cookie.validate(arrival.segment.acknowledgment.advanced(by: -1), now: arrival.now) != nil else { return nil }
    abandon(slot, now: arrival.now, into: &actions)
    return acceptCookie(arrival, packet, into: &actions)
  }

  /// Ends whatever the slot has, without a packet to the client.
  mutating func abandon(_ slot: Int, now: UInt64, into actions: inout ActionList) {
    switch table.slots[slot].phase {
    case .vacant: preconditionFailure("a vacant slot was found")
    case .embryonic:
      abandonHandshake(slot, .superseded)
      return
    case .collecting, .closing: finish(slot, .superseded)
    case .deciding:
      endAttempt(.clientGone)
      finish(slot, .superseded)
    case .handingOff:
      dropHandoff(slot, into: &actions)
      finish(slot, .superseded)
    case .passed: settle(slot)
    case .timeWait, .tombstone: break
    }
    remove(slot)
  }

  /// The client answers a cookie, and in the meantime its repeated SYN got an entry: the entry takes the cookie's
  /// number; both SYN-ACKs had the same options. False when it is no cookie.
  mutating func adoptCookie(_ slot: Int, _ arrival: Arrival) -> Bool {
    guard arrival.now < cookiesUntil else { return false }
    let number = arrival.segment.acknowledgment.advanced(by: -1)
    let cookie = SynCookie(keys: keys.handshake, flow: arrival.flow, clientInitial: table.slots[slot].clientInitial)
    guard cookie.validate(number, now: arrival.now) != nil else { return false }
    table.slots[slot].initialSequence = number
    return true
  }

  /// The handshake is complete.
  mutating func open(_ slot: Int, now: UInt64) {
    table.slots[slot].phase = .collecting
    tally.connectionsOpened &+= 1
    tally.open += 1
    timers.schedule(slot, at: now &+ configuration.headTimeout, now: now)
  }

  /// The acknowledgment of our SYN came.
  mutating func completeHandshake(_ slot: Int, now: UInt64) {
    tally.embryonic -= 1
    tally.handshakes.count(.completed)
    open(slot, now: now)
  }

  /// An embryonic connection ends without having been one.
  mutating func abandonHandshake(_ slot: Int, _ outcome: HandshakeOutcome) {
    tally.embryonic -= 1
    tally.handshakes.count(outcome)
    remove(slot)
  }

  // MARK: Initial values

  private func connection(
    _ flow: FlowTuple, clientInitial: SequenceNumber, initialSequence: SequenceNumber, segmentSize: UInt16,
    windowScale: UInt8?, sackPermitted: Bool, _ arrival: Arrival
  ) -> Connection {
    let next = clientInitial.advanced(by: 1)
    return Connection(
      flow: flow, hash: keys.table.hash(flow), clientInitial: clientInitial, initialSequence: initialSequence,
      receiveNext: next, sendWindow: UInt32(arrival.segment.window), windowField: arrival.segment.window,
      windowSequence: arrival.segment.sequence, maximumSegmentSize: max(segmentSize, Responder.leastSegmentSize),
      windowScale: windowScale.map { TCPSnapshot.WindowScale(send: $0, receive: configuration.windowScale) },
      sackPermitted: sackPermitted,
      clock: arrival.segment.options.timestamps.map { timestampClock(flow, recent: $0.value, now: arrival.now) },
      scanner: RequestHeadScanner(limits: headLimits), held: HeldPackets(end: next))
  }

  /// A client that announces less gets segments of this size: an answer of one byte per segment serves nobody.
  private static var leastSegmentSize: UInt16 { 88 }

  /// RFC 9293 section 3.7.1.
  private func defaultSegmentSize(_ flow: FlowTuple) -> UInt16 { flow.client.address.isIPv4 ? 536 : 1220 }

  /// RFC 6528 section 3: a clock of 4 us plus a keyed hash of the flow.
  private func initialSequence(_ flow: FlowTuple, now: UInt64) -> SequenceNumber {
    SequenceNumber(UInt32(truncatingIfNeeded: now / 4_000) &+ UInt32(truncatingIfNeeded: keys.sequence.hash(flow)))
  }

  /// The offset depends on the addresses alone, so that a client that reuses a port sees our timestamps go on.
  private func timestampClock(_ flow: FlowTuple, recent: UInt32, now: UInt64) -> TimestampClock {
    let addresses = FlowTuple(client: Endpoint(flow.client.address, 0), service: Endpoint(flow.service.address, 0))
    let offset = UInt32(truncatingIfNeeded: keys.handshake.timestamp.hash(addresses))
    return TimestampClock(
      offset: offset, lastSent: UInt32(truncatingIfNeeded: now / 1_000_000) &+ offset, recent: recent)
  }
}

extension Endpoint {
  /// Whether an answer to this source can be for one host: not unspecified, multicast or broadcast (RFC 1122 section
  /// 3.2.1.3, RFC 4291 section 2.7), and not port 0.
  fileprivate var isAnswerable: Bool {
    guard port != 0 else { return false }
    if address.isIPv4 {
      let first = address.ipv4Bits >> 24
      return first != 0 && first < 224
    }
    return address.high >> 56 != 0xff && !(address.high == 0 && address.low == 0)
  }
}
