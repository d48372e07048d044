// SPDX-License-Identifier: Apache-2.0

public import Handoff
internal import Rules
internal import Wire

/// Connections that the program in the kernel handed off by itself, under a lease (docs/design/leased-handoff.md). Their
/// requests are kept until the back-end has said that they stand. Where it does not say so they become like those that this
/// worker handed off by packet.
extension Responder {
  /// Takes note of a connection that has been handed off.
  ///
  /// - Parameter packet: the request, from the IP header on.
  public mutating func handedOff(
    _ handoff: LeasedHandoff, _ packet: Span<UInt8>, now: UInt64, into actions: inout ActionList
  ) {
    tally.packetsReceived &+= 1
    tally.kernelHandoffs &+= 1
    tally.packets.count(keep(handoff, packet, now: now, into: &actions))
  }

  private mutating func keep(
    _ handoff: LeasedHandoff, _ packet: Span<UInt8>, now: UInt64, into actions: inout ActionList
  ) -> PacketOutcome {
    let parsed: ParsedSegment
    do throws(WireError) {
      parsed = try TCPSegment.parse(packet, checksums: configuration.checksums)
    } catch {
      // The program does not look at the checksum. The back-end's kernel does, and drops the request: the client's right one
      // must not follow it there.
      tally.kernelHandoffsUnwatched &+= 1
      if let damaged = try? TCPSegment.parse(packet, checksums: .ignored) {
        let flow = FlowTuple(client: damaged.segment.source, service: damaged.segment.destination)
        actions.append(.handedOff(handoff, flow: flow))
        actions.append(
          .disownFlow(handoff.id, flow: flow, clientInitialSequence: damaged.segment.sequence.advanced(by: -1)))
      }
      return PacketOutcome(error)
    }
    let flow = FlowTuple(client: parsed.segment.source, service: parsed.segment.destination)
    actions.append(.handedOff(handoff, flow: flow))
    // An earlier connection of the same tuple, of which the kernel knew that it was over.
    let hash = keys.table.hash(flow)
    if unconfirmed.take(flow, hash: hash) != nil { settleKept() }
    if let slot = table.find(flow, hash: hash) { abandon(slot, now: now, into: &actions) }
    guard hasRoom, buffers.bytesInUse + unconfirmed.bytes + packet.count <= configuration.maximumBufferBytes else {
      tally.kernelHandoffsUnwatched &+= 1
      return hasRoom ? .bufferExhausted : .tableFull
    }
    tally.connectionsOpened &+= 1
    tally.open += 1
    tally.attemptsStarted &+= 1
    tally.attemptsUnderWay += 1
    tally.packetHandoffs &+= 1
    unconfirmed.append(
      handoff, flow, hash: hash, clientInitial: parsed.segment.sequence.advanced(by: -1), packet, now: now)
    return .cookieAccepted
  }

  /// Counts a handoff that was kept as made: its back-end said so, or there is nothing to be done about it.
  mutating func settleKept() {
    endAttempt(.accepted)
    tally.connections.count(.handedOff)
    tally.open -= 1
  }

  /// Makes a connection of a handoff that was kept, as if this worker had made it.
  ///
  /// - Returns: its slot, nil when it cannot be one. Then it stays where it went, since it may stand there.
  mutating func reveal(_ entry: UnconfirmedHandoffs.Entry, now: UInt64) -> Int? {
    let packet = unconfirmed.request(of: entry)
    guard table.find(entry.flow, hash: keys.table.hash(entry.flow)) == nil, !table.isFull,
      let parsed = try? TCPSegment.parse(packet.span, checksums: .ignored)
    else { return leave() }
    let arrival = Arrival(parsed, now: entry.since)
    let number = arrival.segment.acknowledgment.advanced(by: -1)
    let cookie = SynCookie(keys: keys.handshake, flow: entry.flow, clientInitial: entry.clientInitial)
    guard let offer = cookie.validate(number, now: entry.since) else { return leave() }
    let slot = enterByCookie(arrival, offer, number)
    table.slots[slot].kernelName = entry.handoff.id.rawValue
    leased[entry.handoff.id] = slot
    let attempt = Attempt(
      number: 1, target: entry.handoff.target, route: Route(), excluded: nil, requestedAt: entry.since)
    table.slots[slot].phase = .passed(attempt, backEnd: entry.handoff.backEnd)
    if store(slot, arrival, packet.span) == .bufferExhausted {
      tally.kernelHandoffsUnwatched &+= 1
      confirm(slot, now: now)
      return nil
    }
    table.slots[slot].receiveNext = arrival.segment.sequence.advanced(by: arrival.payload.count)
    table.slots[slot].held.end = table.slots[slot].receiveNext
    timers.schedule(slot, at: entry.since &+ configuration.packetTimeout, now: now)
    return slot
  }

  private mutating func leave() -> Int? {
    tally.kernelHandoffsUnwatched &+= 1
    settleKept()
    return nil
  }

  /// No word came in time of those that were read this long ago.
  mutating func withdrawKept(now: UInt64, into actions: inout ActionList) {
    guard now >= configuration.packetTimeout else { return }
    while let entry = unconfirmed.take(readUntil: now - configuration.packetTimeout) {
      if let slot = reveal(entry, now: now) { withdraw(slot, now: now, into: &actions) }
    }
  }

  /// The connection goes by its slot's name from now on.
  mutating func forgetKernelName(_ slot: Int) {
    let name = table.slots[slot].kernelName
    if name == 0 { return }
    leased[HandoffID(name)] = nil
    table.slots[slot].kernelName = 0
  }
}
