// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ControlChannel
import Handoff
import LinuxKernel
import Telemetry
import Wire

/// Moving bytes, and the ends of connections.
extension HandoffLoop {
  /// Registered once for the whole life: edges say when to go on, no epoll_ctl between.
  static let relayInterest: Epoll.Interest = [.read, .write, .peerHangUp, .edgeTriggered]
  /// Reads of one direction in a row before others have their turn.
  private static let readsPerTurn = 16

  mutating func relayReady(_ token: LoopToken, _ side: Side, _ interest: Epoll.Interest, _ now: UInt64) {
    guard isLive(token) else { return }
    let index = token.index
    if case .connecting = slots[index].phase {
      handshakeReady(index)
      return
    }
    if interest.contains(.write), slots[index].state.held(side.other) > 0 {
      flushHeld(index, from: side.other, now)
      guard isLive(token) else { return }
    }
    let ends = !interest.isDisjoint(with: [.hangUp, .peerHangUp, .error])
    if slots[index].state.mayRead(side) {
      if ends || interest.contains(.read) { pump(index, from: side, drained: !ends, now) }
      guard isLive(token) else { return }
    }
    // A side that failed while its bytes wait for a slow sink, or after its end was read, is not read from: ask.
    if interest.contains(.error), let error = StreamSocket.pendingError(slots[index].descriptor(side)) {
      fail(index, side, error)
    }
  }

  /// Reads from a side and writes to the other until the source is dry, the sink is full, or the turn is over.
  ///
  /// - Parameter drained: a short read means that the source is dry. Not so when its end was announced with the bytes.
  mutating func pump(_ index: Int, from side: Side, drained: Bool, _ now: UInt64) {
    // A turn that was put off may come when an event has read on and met a full sink.
    guard slots[index].state.mayRead(side) else { return }
    let source = slots[index].descriptor(side)
    let sink = slots[index].descriptor(side.other)
    for _ in 0..<HandoffLoop.readsPerTurn {
      let limit = configuration.holdPolicy.readLimit(held: held.total)
      let count: Int
      do throws(SystemError) {
        switch try StreamSocket.read(source, into: &buffer, limit: limit) {
        case .wouldBlock: return
        case .endOfStream:
          perform(index, slots[index].state.handle(.endOfStream(side)), now)
          return
        case .bytes(let value): count = value
        }
      } catch {
        fail(index, side, error)
        return
      }
      slots[index].lastActivity = now
      let written: Int
      do throws(SystemError) {
        written = try StreamSocket.write(sink, buffer.span.extracting(first: count))
      } catch {
        fail(index, side.other, error)
        return
      }
      account(written, from: side)
      if case .hold = slots[index].state.handle(.moved(from: side, count: count, written: written)) {
        slots[index][held: side] = held.hold(buffer, written..<count)
        return
      }
      if drained, count < limit { return }
    }
    again.append(
      LoopToken(side == .client ? .client : .server, index: UInt32(index), generation: slots[index].generation))
  }

  /// Writes what a sink did not take before, now that it is writable.
  private mutating func flushHeld(_ index: Int, from side: Side, _ now: UInt64) {
    let place = slots[index][held: side]
    let sink = slots[index].descriptor(side.other)
    let written: Int
    do throws(SystemError) {
      written = try held.write(place, to: sink)
    } catch {
      fail(index, side.other, error)
      return
    }
    if written > 0 { slots[index].lastActivity = now }
    account(written, from: side)
    let action = slots[index].state.handle(.flushed(from: side, written: written))
    if case .hold = action { return }
    held.release(place)
    slots[index][held: side] = -1
    perform(index, action, now)
  }

  private mutating func account(_ written: Int, from side: Side) {
    if side == .client {
      tally.bytesFromClients &+= UInt64(written)
    } else {
      tally.bytesFromServers &+= UInt64(written)
    }
  }

  private mutating func perform(_ index: Int, _ action: RelayState.Action, _ now: UInt64) {
    switch action {
    case .read(let side): pump(index, from: side, drained: false, now)
    case .hold: break
    case .shutdown(let side):
      do throws(SystemError) {
        try StreamSocket.shutdownWriting(slots[index].descriptor(side))
      } catch {
        // ENOTCONN: it was reset meanwhile.
        fail(index, side, error)
      }
    case .close, .reset: finish(index, action)
    }
  }

  private mutating func fail(_ index: Int, _ side: Side, _ error: SystemError) {
    // Ended from outside (SOCK_DESTROY): the client has a new connection with the same 4-tuple.
    if error.isAbort {
      finish(index, .reset(.aborted))
    } else {
      finish(index, slots[index].state.handle(.failed(side)))
    }
  }

  /// Carries out `.close` or `.reset`.
  mutating func finish(_ index: Int, _ action: RelayState.Action) {
    switch action {
    case .close(let end):
      StreamSocket.close(slots[index].server)
      StreamSocket.close(slots[index].client)
      retire(index, end, countsEnded: true)
    case .reset(let end):
      StreamSocket.closeWithReset(slots[index].server)
      StreamSocket.closeWithReset(slots[index].client)
      retire(index, end, countsEnded: true)
    case .read, .hold, .shutdown: break
    }
  }

  /// Ends a connection so that the client sees nothing of it; the web server sees a reset.
  mutating func vanish(_ index: Int, countsEnded: Bool) {
    if case .direct = slots[index].phase {
      endSilently(slots[index].flow)
    } else {
      StreamSocket.closeSilently(slots[index].client)
      StreamSocket.closeWithReset(slots[index].server)
    }
    retire(index, .aborted, countsEnded: countsEnded)
  }

  /// Ends this loop's connection of a flow whose client has begun a new one. Returns whether there was one.
  mutating func vanish(staleOf flow: FlowTuple, except own: Int = -1) -> Bool {
    for index in slots.indices where slots[index].flow == flow && index != own {
      switch slots[index].phase {
      case .free: continue
      case .connecting: abandonHandshake(index)
      case .installing: abandonInstalling(index)
      case .relaying, .direct: vanish(index, countsEnded: true)
      }
      tally.tuplesFreed += 1
      return true
    }
    return false
  }

  /// The distributor gave a handoff up. It returns the assignment itself, so the end is not reported.
  mutating func abort(_ id: HandoffID, peer: Int) {
    claim(id, peer: peer)
    let reference = PeerReference(index: UInt32(peer), generation: peers[peer].generation)
    for index in slots.indices where slots[index].id == id && slots[index].peer == reference {
      switch slots[index].phase {
      case .free: continue
      case .connecting: abandonHandshake(index)
      case .installing: abandonInstalling(index)
      case .relaying, .direct: vanish(index, countsEnded: false)
      }
      return
    }
    tally.abortsWithoutHandoff += 1
  }

  /// Counts a connection that is over and frees its slot.
  mutating func retire(_ index: Int, _ end: RelayEnd, countsEnded: Bool) {
    tally.connectionEnded(end)
    totals.active -= 1
    if countsEnded {
      totals.ended += 1
      tellEnd(index, end)
    }
    for side in Side.allCases where slots[index][held: side] >= 0 { held.release(slots[index][held: side]) }
    freeSlot(index)
  }

  func connection(of peer: PeerReference) -> ControlConnection? {
    let index = Int(peer.index)
    guard index < peers.count, peers[index].generation == peer.generation else { return nil }
    return peers[index].connection
  }

  // MARK: Slots

  mutating func newSlot() -> Int {
    if let free = freeSlots.popLast() { return Int(free) }
    slots.append(RelaySlot())
    return slots.count - 1
  }

  /// Gives the slot and its place in the connection budget back.
  mutating func freeSlot(_ index: Int, keepingBudget: Bool = false) {
    if slots[index].origin != 0 {
      packets[PacketHandoffName(origin: slots[index].origin, id: slots[index].id)] = nil
    }
    if !keepingBudget { budget.give() }
    slots[index] = RelaySlot(generation: slots[index].generation &+ 1)
    freeSlots.append(UInt32(index))
  }

  // MARK: Time

  /// Once a second: ends what is idle for too long, and counts by address when asked to.
  mutating func sweep(_ now: UInt64) {
    var counts: [IPAddress: Int] = [:]
    if let direct { compareWithKernel(direct, now) }
    for index in slots.indices {
      if case .direct = slots[index].phase {
        if countsAddresses { counts[slots[index].flow.service.address, default: 0] += 1 }
        continue
      }
      guard case .relaying = slots[index].phase else { continue }
      let idle = now &- min(now, slots[index].lastActivity)
      if idle >= configuration.halfClosedTimeout, slots[index].state.waitsForClientOnly {
        finish(index, .close(.halfClosedTimeout))
      } else if idle >= configuration.idleTimeout {
        finish(index, .reset(.idleTimeout))
      } else if countsAddresses {
        counts[slots[index].flow.service.address, default: 0] += 1
      }
    }
    if countsAddresses { mailbox.addressCounts.publish(counts) }
  }

  /// The agent ends: what is still open is cut, visibly for both sides.
  mutating func endEverything() {
    if let direct { drainEvents(direct) }
    for index in slots.indices {
      switch slots[index].phase {
      case .free: break
      case .connecting: abandonHandshake(index)
      case .installing: abandonInstalling(index)
      case .relaying: finish(index, .reset(.drained))
      case .direct:
        cutDirect(index)
        retire(index, .drained, countsEnded: true)
      }
    }
    let now = MonotonicTime.now()
    // What waited for a control connection to come back waits no longer.
    collectUntold(now)
    turnPeers(now)
  }
}
