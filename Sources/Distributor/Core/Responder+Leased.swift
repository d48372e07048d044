// SPDX-License-Identifier: Apache-2.0

public import Handoff
internal import Rules
internal import Wire

/// Connections that the program in the kernel handed off by itself, under a lease (docs/design/leased-handoff.md). From here
/// on they are like those that this worker handed off by packet: it keeps the request until the back-end has said that the
/// connection stands.
extension Responder {
  /// Takes note of a connection that has been handed off.
  ///
  /// - Parameter packet: the request, from the IP header on.
  public mutating func handedOff(
    _ handoff: LeasedHandoff, _ packet: Span<UInt8>, now: UInt64, into actions: inout ActionList
  ) {
    tally.packetsReceived &+= 1
    tally.kernelHandoffs &+= 1
    tally.packets.count(watch(handoff, packet, now: now, into: &actions))
  }

  private mutating func watch(
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
    let arrival = Arrival(parsed, now: now)
    actions.append(.handedOff(handoff, flow: arrival.flow))
    // An earlier connection of the same tuple, of which the kernel knew that it was over.
    if let slot = table.find(arrival.flow, hash: keys.table.hash(arrival.flow)) {
      abandon(slot, now: now, into: &actions)
    }
    let number = arrival.segment.acknowledgment.advanced(by: -1)
    let cookie = SynCookie(
      keys: keys.handshake, flow: arrival.flow, clientInitial: arrival.segment.sequence.advanced(by: -1))
    guard !table.isFull, let offer = cookie.validate(number, now: now) else {
      tally.kernelHandoffsUnwatched &+= 1
      return table.isFull ? .tableFull : .unknownFlow
    }
    let slot = openByCookie(arrival, offer, number)
    table.slots[slot].kernelName = handoff.id.rawValue
    leased[handoff.id] = slot
    tally.attemptsStarted &+= 1
    tally.attemptsUnderWay += 1
    tally.packetHandoffs &+= 1
    let attempt = Attempt(number: 1, target: handoff.target, route: Route(), excluded: nil, requestedAt: now)
    table.slots[slot].phase = .passed(attempt, backEnd: handoff.backEnd)
    if store(slot, arrival, packet) == .bufferExhausted {
      tally.kernelHandoffsUnwatched &+= 1
      confirm(slot, now: now)
      return .bufferExhausted
    }
    table.slots[slot].receiveNext = arrival.segment.sequence.advanced(by: arrival.payload.count)
    table.slots[slot].held.end = table.slots[slot].receiveNext
    timers.schedule(slot, at: now &+ configuration.packetTimeout, now: now)
    return .cookieAccepted
  }

  /// The connection goes by its slot's name from now on.
  mutating func forgetKernelName(_ slot: Int) {
    let name = table.slots[slot].kernelName
    if name == 0 { return }
    leased[HandoffID(name)] = nil
    table.slots[slot].kernelName = 0
  }
}
