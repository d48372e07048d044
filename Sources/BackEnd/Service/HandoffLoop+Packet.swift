// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ControlChannel
import ControlProtocol
import ForwardingPlane
import Handoff
import LinuxKernel
import Logging
import Wire

/// Handoffs that the node's kernel takes from a packet, without this process: it hears of them by its ring, and tells the
/// distributor when it has several to tell of. docs/design/packet-handoff.md has the picture.
extension HandoffLoop {
  // MARK: What is offered

  private static let promise: UInt64 = 2_500_000_000
  private static let promiseRenewal: UInt64 = 1_500_000_000

  /// Lets the kernel take handoffs for some time: a process that hangs takes none.
  mutating func showLife(_ now: UInt64) {
    guard let direct, mode == .serving, aliveUntil < now + HandoffLoop.promiseRenewal else { return }
    aliveUntil = now + HandoffLoop.promise
    direct.ring.promiseToLive(until: aliveUntil)
  }

  mutating func stopPackets() {
    aliveUntil = 0
    direct?.ring.promiseToLive(until: 0)
  }

  /// Tells a distributor what it may send by packet, when that has changed.
  mutating func offerPackets(_ index: Int, _ connection: ControlConnection) {
    guard peers[index].greeted, let direct, direct.plane.configuration.packetPort != 0 else { return }
    let takes = mode == .serving && !budget.isExhausted
    let offer = PacketHandoffOffer(
      port: direct.plane.configuration.packetPort, key: direct.plane.configuration.packetKey, loop: UInt8(direct.loop),
      takesIPv4: takes && direct.families.contains(isIPv4: true),
      takesIPv6: takes && direct.families.contains(isIPv4: false))
    if peers[index].offered == offer { return }
    peers[index].offered = offer
    connection.send(.packetHandoffs(offer))
  }

  // MARK: What the kernel tells

  mutating func take(_ event: ConnectionEvent, _ direct: DirectInstaller) {
    let name = PacketHandoffName(origin: event.origin, id: HandoffID(event.token))
    let known = packets[name].map(Int.init)
    switch event.kind {
    case .established(let flow):
      if let known {
        // Asked for by message meanwhile.
        if case .installing = slots[known].phase { completeDirect(known) }
      } else if let flow {
        begin(name, flow)
      }
    case .ended:
      guard let known else { return }
      if case .installing = slots[known].phase { completeDirect(known) }
      retireDirect(known, event.kind)
    case .declined:
      tally.packetsDeclined += 1
      if let known {
        // Asked for by message while the kernel looked at the packet.
        installDeclined(known, name, direct)
        return
      }
      // By message it can be tried again, relayed, or refused with the reason.
      if let peer = peers.first(where: { $0.origin == name.origin && $0.greeted }) {
        peer.connection?.send(.handoffWanted(name.id))
      }
    }
  }

  /// The web server has a connection of which this process knew nothing.
  mutating func begin(_ name: PacketHandoffName, _ flow: FlowTuple) {
    if !budget.takeAnyway() { _ = limitReached("the limit of \(budget.limit) connections", MonotonicTime.now()) }
    let index = newSlot()
    slots[index].phase = .direct
    slots[index].id = name.id
    slots[index].origin = name.origin
    slots[index].worker = name.origin
    slots[index].flow = flow
    slots[index].lastActivity = MonotonicTime.now()
    packets[name] = UInt32(index)
    tally.handoffReceived()
    tally.directAccepted()
    tally.takenFromPackets += 1
    totals.active += 1
    guard let peer = peers.firstIndex(where: { $0.origin == name.origin && $0.greeted }) else {
      // Its distributor is gone, or comes back by another control connection.
      slots[index].peer = PeerReference(index: .max, generation: 0)
      return
    }
    slots[index].peer = PeerReference(index: UInt32(peer), generation: peers[peer].generation)
    peers[peer].taken.append((slot: UInt32(index), generation: slots[index].generation))
  }

  // MARK: What the distributor asks

  /// A handoff that was sent by packet comes as a message. Returns false when it is to be treated as any other.
  mutating func isTaken(_ request: HandoffRequest, peer: Int, _ now: UInt64) -> Bool {
    guard let direct, let connection = peers[peer].connection else { return false }
    let name = PacketHandoffName(origin: peers[peer].origin, id: request.id)
    drainEvents(direct)
    if packets[name] != nil {
      connection.send(.handoffAccepted(name.id))
      return true
    }
    if peers[peer].ended.contains(name.id) || peers[peer].cut.contains(name.id) {
      sendNews(peer, connection)
      return true
    }
    if direct.plane.pending.claim(origin: name.origin, handoff: name.id) { return false }
    // The kernel has taken it from the packet; it waits before the listener, or stands.
    tally.handoffReceived()
    _ = budget.takeAnyway()
    let index = newSlot()
    slots[index].phase = .installing(attempt: 1, next: now, started: now)
    slots[index].id = name.id
    slots[index].origin = name.origin
    slots[index].worker = name.origin
    slots[index].peer = PeerReference(index: UInt32(peer), generation: peers[peer].generation)
    slots[index].flow = request.snapshot.flow
    slots[index].lastActivity = now
    packets[name] = UInt32(index)
    waiting[UInt32(index)] = request
    settle(index, direct, now)
    return true
  }

  /// The kernel has taken a handoff from its packet, and knows nothing of it any more: the connection is over, and its
  /// events found no room.
  mutating func settleGonePacket(_ index: Int, _ direct: DirectInstaller) {
    let generation = slots[index].generation
    // Afterwards nothing is under way that was seen half.
    KernelBarrier.waitOrSleep()
    drainEvents(direct)
    guard slots[index].generation == generation, case .installing = slots[index].phase else { return }
    completeDirect(index)
    retire(index, .unobserved, countsEnded: true)
  }

  /// The kernel has looked at the packet of a handoff that is being settled, and made nothing of it: the message is now all
  /// there is.
  private mutating func installDeclined(_ index: Int, _ name: PacketHandoffName, _ direct: DirectInstaller) {
    guard case .installing(let attempt, _, let started) = slots[index].phase, let request = waiting[UInt32(index)],
      // Else it has taken another copy.
      direct.plane.pending.claim(origin: name.origin, handoff: name.id)
    else { return }
    packets[name] = nil
    slots[index].origin = 0
    slots[index].phase = .installing(attempt: attempt, next: started, started: started)
    inject(index, request, direct, .new, started)
  }

  /// Keeps a handoff that was given up from being taken from a packet that is still under way.
  mutating func claim(_ id: HandoffID, peer: Int) {
    guard let direct, direct.plane.configuration.packetPort != 0 else { return }
    _ = direct.plane.pending.claim(origin: peers[peer].origin, handoff: id)
    drainEvents(direct)
  }
}
