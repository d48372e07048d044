// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ControlChannel
import ControlProtocol
import ForwardingPlane
import Glibc
import Handoff
import LinuxKernel
import Logging
import Telemetry
import Wire

/// Giving connections to the web server's own listener. docs/design/direct.md has the picture.
///
/// Once the listener has taken a connection the server works on the request: from then on the handoff cannot be refused.
/// Before a refusal the kernel's entry is removed, all packets under way are waited for, and the socket table is asked.
extension HandoffLoop {
  private static let millisecond: UInt64 = 1_000_000
  /// How often a full accept queue is tried again, with 1, 2, 4, 8 and 16 ms between.
  private static let attempts: UInt8 = 6
  /// Answers that may wait for others before they are written together.
  private static let answersTogether = 4

  mutating func installDirect(
    _ request: consuming HandoffRequest, _ peer: PeerReference, _ direct: DirectInstaller, _ started: UInt64
  ) {
    let index = newSlot()
    slots[index].phase = .installing(
      attempt: 1, next: started + HandoffLoop.millisecond, started: started)
    slots[index].id = request.id
    slots[index].peer = peer
    slots[index].worker = peers[Int(peer.index)].origin
    slots[index].flow = request.snapshot.flow
    slots[index].lastActivity = started
    let generation = slots[index].generation
    inject(index, request, direct, .new, started)
    drainEvents(direct)
    // Over already, or even another's slot by now.
    guard slots[index].generation == generation, case .installing = slots[index].phase else { return }
    waiting[UInt32(index)] = request
    settle(index, direct, started)
  }

  mutating func inject(
    _ index: Int, _ request: borrowing HandoffRequest, _ direct: DirectInstaller, _ mode: PendingConnections.Mode,
    _ now: UInt64
  ) {
    do {
      try direct.inject(request.snapshot, request.request, token: token(.direct, index), mode)
    } catch {
      // ENOENT: the connection stands. Anything else shows as an entry that is not there, or waits.
      if error.errno != ENOENT { _ = limitReached("\(error)", now) }
    }
  }

  // MARK: Events

  /// Reads what the kernel has told of this loop's connections. No system call.
  mutating func drainEvents(_ direct: DirectInstaller) {
    while let event = direct.ring.next() {
      if event.origin != 0 {
        take(event, direct)
        continue
      }
      let token = LoopToken(rawValue: event.token)
      // The end of a connection that was given up before.
      guard isLive(token) else { continue }
      switch event.kind {
      case .established:
        if case .installing = slots[token.index].phase { completeDirect(token.index) }
      case .ended:
        if case .installing = slots[token.index].phase { completeDirect(token.index) }
        retireDirect(token.index, event.kind)
      case .declined: break
      }
    }
  }

  /// Counts what the kernel told of the end of a connection.
  mutating func retireDirect(_ index: Int, _ kind: ConnectionEvent.Kind) {
    guard case .ended(let state, let error, let fromClient, let toClient, _) = kind,
      case .direct = slots[index].phase
    else { return }
    tally.bytesFromClients &+= fromClient
    tally.bytesFromServers &+= toClient
    retire(index, RelayEnd(lastState: state, error: error), countsEnded: true)
  }

  mutating func completeDirect(_ index: Int) {
    guard case .installing(_, _, let started) = slots[index].phase else { return }
    waiting[UInt32(index)] = nil
    slots[index].phase = .direct
    tally.directAccepted()
    totals.active += 1
    let peer = slots[index].peer
    if let connection = connection(of: peer) {
      connection.send(.handoffAccepted(slots[index].id))
      // What came by packet stays here also where this is not told.
      if slots[index].origin == 0 { peers[Int(peer.index)].unannounced.append(slots[index].id) }
      // The rest goes at the end of the turn.
      if peers[Int(peer.index)].unannounced.count >= HandoffLoop.answersTogether { flushAnswer(Int(peer.index)) }
    }
    installTime.observe(nanoseconds: MonotonicTime.now() &- started)
  }

  // MARK: What did not stand at once

  /// Looks again at connections whose time has come. Called once a turn, after the events were read.
  mutating func continueInstalling(_ now: UInt64) {
    guard let direct, !waiting.isEmpty else { return }
    for index in waiting.keys.map(Int.init) {
      if case .installing(_, let next, _) = slots[index].phase, now >= next { settle(index, direct, now) }
    }
    if !hopeless.isEmpty { giveUp(direct, now) }
  }

  mutating func settle(_ index: Int, _ direct: DirectInstaller, _ now: UInt64) {
    guard case .installing(let attempt, _, let started) = slots[index].phase else { return }
    let flow = slots[index].flow
    switch direct.plane.pending.result(of: flow) {
    case nil:
      // It stands, and the event was told after we looked; else there was no room for the event or for the entry.
      drainEvents(direct)
      guard case .installing = slots[index].phase else { return }
      // Declined as a packet, and injected just now: looked at again in the next turn.
      if direct.plane.pending.result(of: flow) != nil { return }
      if adoptUntold(index, direct, now) { return }
      if slots[index].origin != 0 { settleGonePacket(index, direct) } else { refuseDirect(index, .overloaded) }
    case .waiting:
      // The kernel has not come to the segment: its queue is busy, or it was lost there.
      let age = now &- started
      if age > 100 * HandoffLoop.millisecond {
        hopeless.append(UInt32(index))
      } else if age > UInt64(attempt) * 5 * HandoffLoop.millisecond {
        // A second segment is harmless: it finds the connection of the first, or is the first.
        tryAgain(index, direct, now)
      } else {
        slots[index].phase = .installing(attempt: attempt, next: now + HandoffLoop.millisecond, started: started)
      }
      slots[index].mayStand = true
    case .assigned:
      // Its establishment may have gone untold.
      if adoptUntold(index, direct, now) { return }
      if attempt >= HandoffLoop.attempts { hopeless.append(UInt32(index)) } else { tryAgain(index, direct, now) }
    case .tupleBusy:
      // By the first of two segments.
      if slots[index].mayStand, adoptUntold(index, direct, now) { return }
      if attempt >= 3 {
        _ = direct.plane.pending.remove(flow)
        refuseDirect(index, .tupleInUse)
        return
      }
      freeDirectTuple(flow, except: index)
      tryAgain(index, direct, now)
      drainEvents(direct)
    case .noListener:
      _ = direct.plane.pending.remove(flow)
      control.webServerRefused()
      refuseDirect(index, .serverUnreachable)
    case .refused(let code):
      _ = direct.plane.pending.remove(flow)
      complain("the kernel refuses to assign \(flow): error \(code); relaying it", now)
      relayInstead(index, started)
    }
  }

  private mutating func tryAgain(_ index: Int, _ direct: DirectInstaller, _ now: UInt64) {
    guard case .installing(let attempt, _, let started) = slots[index].phase, let request = waiting[UInt32(index)]
    else { return }
    tally.directRetries += 1
    let pause = HandoffLoop.millisecond << UInt64(min(attempt, 6) - 1)
    slots[index].phase = .installing(attempt: attempt + 1, next: now + pause, started: started)
    inject(index, request, direct, .again, now)
  }

  private mutating func relayInstead(_ index: Int, _ started: UInt64) {
    tally.fellBack(.kernelRefused)
    guard let request = waiting.removeValue(forKey: UInt32(index)) else { return }
    let (id, peer) = (slots[index].id, slots[index].peer)
    freeSlot(index, keepingBudget: true)
    do throws(HandoffRefusal) {
      try installRelay(request, peer, started)
    } catch {
      budget.give()
      refuse(id, error, peer: peer)
    }
  }

  /// The kernel knows the connection although it did not tell of it. Returns false when it does not.
  private mutating func adoptUntold(_ index: Int, _ direct: DirectInstaller, _ now: UInt64) -> Bool {
    let flow = slots[index].flow
    guard let found = try? diagnostics.tcpSocket(local: flow.service, remote: flow.client), found.state != .timeWait
    else { return false }
    _ = direct.plane.pending.remove(flow)
    completeDirect(index)
    try? direct.plane.adopt(flow, token: token(.direct, index), loop: direct.loop, now: now)
    return true
  }

  /// Refuses those that did not come to stand, unless one did at the last moment.
  private mutating func giveUp(_ direct: DirectInstaller, _ now: UInt64) {
    let indices = hopeless.map(Int.init)
    hopeless.removeAll(keepingCapacity: true)
    for index in indices { _ = direct.plane.pending.remove(slots[index].flow) }
    // One wait for all: afterwards no segment is under way that could still find an entry.
    KernelBarrier.waitOrSleep()
    drainEvents(direct)
    for index in indices {
      guard case .installing = slots[index].phase else { continue }
      if adoptUntold(index, direct, now) { continue }
      refuseDirect(index, .overloaded)
    }
  }

  private mutating func refuseDirect(_ index: Int, _ reason: HandoffRefusal) {
    waiting[UInt32(index)] = nil
    let (id, peer) = (slots[index].id, slots[index].peer)
    freeSlot(index)
    refuse(id, reason, peer: peer)
  }

  /// Drops a handoff before its answer. If the listener took it meanwhile, it ends without a packet to the client.
  mutating func abandonInstalling(_ index: Int) {
    guard let direct else { return }
    let flow = slots[index].flow
    if direct.plane.pending.remove(flow) { KernelBarrier.waitOrSleep() }
    waiting[UInt32(index)] = nil
    endSilently(flow)
    freeSlot(index)
    tally.handoffAborted()
  }

  // MARK: Removing connections of the web server

  /// Ends the web server's connection of a flow; its client sees nothing.
  mutating func endSilently(_ flow: FlowTuple) {
    guard let direct, let found = try? diagnostics.tcpSocket(local: flow.service, remote: flow.client) else { return }
    do throws(ServePlaneError) {
      var failure: SystemError?
      try direct.plane.silently(flow) {
        do throws(SystemError) { try diagnostics.destroy(found) } catch { failure = error }
      }
      if let failure, failure.errno != ENOENT { logger.warning("ending \(flow) failed: \(failure)") }
    } catch {
      // Better a reset than two owners of one connection.
      logger.warning("\(flow) ends with a reset: \(error)")
      try? diagnostics.destroy(found)
    }
  }

  /// Ends the web server's connection of a flow visibly for both sides.
  mutating func cutDirect(_ index: Int) {
    let flow = slots[index].flow
    if let found = try? diagnostics.tcpSocket(local: flow.service, remote: flow.client) {
      do { try diagnostics.destroy(found) } catch {
        if error.errno != ENOENT { logger.warning("ending \(flow) failed: \(error)") }
      }
    }
  }

  /// Whatever has the 4-tuple belongs to a connection that is over for the client, which would not use its port again
  /// otherwise.
  private mutating func freeDirectTuple(_ flow: FlowTuple, except index: Int) {
    guard let found = try? diagnostics.tcpSocket(local: flow.service, remote: flow.client) else { return }
    if found.hasOwner, vanish(staleOf: flow, except: index) { return }
    destroy(found)
  }
}
