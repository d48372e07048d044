// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ControlChannel
import ControlProtocol
import Glibc
import Handoff
import LinuxKernel
import Logging
import Telemetry
import Wire

/// Taking a handoff: first the web server, then the client's connection, then the answer. Nothing of the request reaches the
/// server before both connections stand, so a refused handoff can be served elsewhere.
extension HandoffLoop {
  mutating func install(_ request: consuming HandoffRequest, peer: Int) {
    let started = MonotonicTime.now()
    if request.wasSentByPacket, isTaken(request, peer: peer, started) { return }
    tally.handoffReceived()
    let id = request.id
    do throws(HandoffRefusal) {
      guard mode == .serving else { throw .draining }
      guard budget.take() else { throw limitReached("the limit of \(budget.limit) connections", started) }
      do throws(HandoffRefusal) {
        try installWithinBudget(request, reference(peer), started)
      } catch {
        budget.give()
        throw error
      }
    } catch {
      refuse(id, error, peer: reference(peer))
    }
  }

  private mutating func installWithinBudget(
    _ request: consuming HandoffRequest, _ peer: PeerReference, _ started: UInt64
  ) throws(HandoffRefusal) {
    guard let direct else {
      try installRelay(request, peer, started)
      return
    }
    let isIPv4 = request.snapshot.flow.client.address.isIPv4
    guard direct.families.contains(isIPv4: isIPv4) else {
      if configuration.serve == .direct { throw .serverUnreachable }
      try installRelay(request, peer, started)
      return
    }
    if let obstacle = DirectLimits.obstacle(request.snapshot, requestBytes: request.request.count) {
      tally.fellBack(obstacle)
      try installRelay(request, peer, started)
      return
    }
    installDirect(request, peer, direct, started)
  }

  /// Recreates the connection and relays.
  mutating func installRelay(
    _ request: consuming HandoffRequest, _ peer: PeerReference, _ started: UInt64
  ) throws(HandoffRefusal) {
    let attempt = try connectServer(for: request.snapshot.flow, started)
    switch attempt.progress {
    case .established:
      let server = attempt.take().intoRaw()
      let client = try restoreOrCloseServer(request.snapshot, server, started)
      complete(newSlot(), request, peer: peer, client: client, server: server, started: started)
    case .underWay:
      wait(request, peer: peer, server: attempt.take().intoRaw(), started: started)
    }
  }

  private func reference(_ peer: Int) -> PeerReference {
    PeerReference(index: UInt32(peer), generation: peers[peer].generation)
  }

  mutating func refuse(_ id: HandoffID, _ reason: HandoffRefusal, peer: PeerReference) {
    tally.handoffRefused(reason)
    guard let connection = connection(of: peer) else { return }
    connection.send(.handoffRefused(id, reason))
    flushAnswer(Int(peer.index))
  }

  // MARK: The web server

  private mutating func connectServer(
    for flow: FlowTuple, _ now: UInt64
  ) throws(HandoffRefusal) -> TransparentSocket.Attempt {
    let server = configuration.server(isIPv4: flow.client.address.isIPv4)
    for mayFree in [true, false] {
      do throws(SystemError) {
        return try TransparentSocket.connect(from: flow.client, to: server)
      } catch {
        switch error.errno {
        case EADDRNOTAVAIL where mayFree: guard freeServerTuple(flow, server) else { throw .tupleInUse }
        case EADDRNOTAVAIL, EADDRINUSE: throw .tupleInUse
        case EMFILE, ENFILE, ENOBUFS, ENOMEM: throw limitReached("\(error)", now)
        case ECONNREFUSED, ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH:
          control.webServerRefused()
          throw .serverUnreachable
        default:
          complain("connecting to the web server for \(flow) failed: \(error)", now)
          throw .kernelRefused
        }
      }
    }
    throw .tupleInUse
  }

  /// Frees client -> server for a new connection. Whatever has it belongs to a connection that is over for the client, which
  /// would not use the same port otherwise, unless it is a live one to another service of the cluster.
  private mutating func freeServerTuple(_ flow: FlowTuple, _ server: Endpoint) -> Bool {
    guard let found = try? diagnostics.tcpSocket(local: flow.client, remote: server) else { return true }
    if found.hasOwner {
      if vanish(staleOf: flow) { return true }
      // Another loop's connection of the same flow: ending its client side makes that loop close this one.
      guard let other = try? diagnostics.tcpSocket(local: flow.service, remote: flow.client) else { return false }
      destroy(other)
    }
    destroy(found)
    return true
  }

  mutating func destroy(_ socket: DiagnosedSocket) {
    do {
      try diagnostics.destroy(socket)
      tally.tuplesFreed += 1
    } catch {
      // ENOENT: it went by itself.
      if error.errno != ENOENT { logger.warning("removing \(socket.local)->\(socket.remote) failed: \(error)") }
    }
  }

  private mutating func wait(
    _ request: consuming HandoffRequest, peer: PeerReference, server: Int32, started: UInt64
  ) {
    let index = newSlot()
    slots[index].phase = .connecting(deadline: started + configuration.connectTimeout, started: started)
    slots[index].server = server
    slots[index].id = request.id
    slots[index].peer = peer
    slots[index].worker = peers[Int(peer.index)].origin
    slots[index].flow = request.snapshot.flow
    waiting[UInt32(index)] = request
    do {
      try epoll.add(server, HandoffLoop.relayInterest, token: token(.server, index))
    } catch {
      refuseWaiting(index, .overloaded)
    }
  }

  /// The handshake with the web server came to an end.
  mutating func handshakeReady(_ index: Int) {
    guard case .connecting(_, let started) = slots[index].phase else { return }
    do throws(SystemError) {
      if try TransparentSocket.progress(of: slots[index].server) == .underWay { return }
    } catch {
      control.webServerRefused()
      refuseWaiting(index, .serverUnreachable)
      return
    }
    guard let request = waiting.removeValue(forKey: UInt32(index)) else { return }
    let peer = slots[index].peer
    let server = slots[index].server
    do throws(HandoffRefusal) {
      let client = try restoreOrCloseServer(request.snapshot, server, started)
      // Edge-triggered events of the server side start anew with the registration.
      try? epoll.remove(server)
      complete(index, request, peer: peer, client: client, server: server, started: started)
    } catch {
      freeSlot(index)
      refuse(request.id, error, peer: peer)
    }
  }

  mutating func expireHandshakes(_ now: UInt64) {
    if waiting.isEmpty { return }
    for index in waiting.keys.map(Int.init) {
      guard case .connecting(let deadline, _) = slots[index].phase, now >= deadline else { continue }
      control.webServerRefused()
      refuseWaiting(index, .serverUnreachable)
    }
  }

  private mutating func refuseWaiting(_ index: Int, _ reason: HandoffRefusal) {
    waiting[UInt32(index)] = nil
    StreamSocket.closeWithReset(slots[index].server)
    let (id, peer) = (slots[index].id, slots[index].peer)
    freeSlot(index)
    refuse(id, reason, peer: peer)
  }

  /// Drops a handoff before its answer: nobody waits for it any more.
  mutating func abandonHandshake(_ index: Int) {
    waiting[UInt32(index)] = nil
    StreamSocket.closeWithReset(slots[index].server)
    freeSlot(index)
    tally.handoffAborted()
  }

  // MARK: The client

  private mutating func restoreOrCloseServer(
    _ snapshot: TCPSnapshot, _ server: Int32, _ now: UInt64
  ) throws(HandoffRefusal) -> Int32 {
    do throws(HandoffRefusal) {
      return try restoreClient(snapshot, now)
    } catch {
      StreamSocket.closeWithReset(server)
      throw error
    }
  }

  private mutating func restoreClient(_ snapshot: TCPSnapshot, _ now: UInt64) throws(HandoffRefusal) -> Int32 {
    let connection = TCPRepair.Connection(snapshot)
    for mayFree in [true, false] {
      do throws(TCPRepair.Failure) {
        return try TCPRepair.restore(connection).intoRaw()
      } catch {
        switch (error.step, error.error.errno) {
        case (.bind, EADDRNOTAVAIL): throw .addressNotServed
        case (.connect, EADDRNOTAVAIL) where mayFree: freeClientTuple(snapshot.flow)
        case (.connect, EADDRNOTAVAIL), (.bind, EADDRINUSE): throw .tupleInUse
        case (.socket, EMFILE), (.socket, ENFILE), (_, ENOBUFS), (_, ENOMEM):
          throw limitReached("\(error.error)", now)
        default:
          complain("recreating \(snapshot.flow) failed at step \(error.step): \(error.error)", now)
          throw .kernelRefused
        }
      }
    }
    throw .tupleInUse
  }

  private mutating func freeClientTuple(_ flow: FlowTuple) {
    guard let found = try? diagnostics.tcpSocket(local: flow.service, remote: flow.client) else { return }
    if found.hasOwner, vanish(staleOf: flow) { return }
    destroy(found)
  }

  // MARK: Both stand

  private mutating func complete(
    _ index: Int, _ request: HandoffRequest, peer: PeerReference, client: Int32, server: Int32, started: UInt64
  ) {
    slots[index].phase = .relaying
    slots[index].client = client
    slots[index].server = server
    slots[index].id = request.id
    slots[index].peer = peer
    slots[index].worker = peers[Int(peer.index)].origin
    slots[index].flow = request.snapshot.flow
    slots[index].lastActivity = started
    tally.handoffAccepted()
    totals.active += 1
    StreamSocket.disableDelay(client)
    StreamSocket.disableDelay(server)
    let end = startServer(index, request.request)
    if let connection = connection(of: peer) {
      connection.send(.handoffAccepted(request.id))
      peers[Int(peer.index)].unannounced.append(request.id)
      flushAnswer(Int(peer.index))
    }
    installTime.observe(nanoseconds: MonotonicTime.now() &- started)
    guard let end else { return }
    finish(index, end)
  }

  /// Writes the request and begins to watch both connections. Returns what to do when it failed.
  private mutating func startServer(_ index: Int, _ request: [UInt8]) -> RelayState.Action? {
    do throws(SystemError) {
      let written = request.isEmpty ? 0 : try StreamSocket.write(slots[index].server, request.span)
      tally.bytesFromClients += UInt64(written)
      let action = slots[index].state.handle(.moved(from: .client, count: request.count, written: written))
      if case .hold = action { slots[index].heldFromClient = held.hold(request, written..<request.count) }
    } catch {
      return slots[index].state.handle(.failed(.server))
    }
    do throws(SystemError) {
      try epoll.add(slots[index].server, HandoffLoop.relayInterest, token: token(.server, index))
      try epoll.add(slots[index].client, HandoffLoop.relayInterest, token: token(.client, index))
      return nil
    } catch {
      logger.error("watching \(slots[index].flow) failed: \(error)")
      return .reset(.serverReset)
    }
  }

  /// Logs what clients or peers could make happen for every handoff: once a second at most; the counters have all.
  mutating func complain(_ text: String, _ now: UInt64) {
    if now < nextComplaint { return }
    nextComplaint = now + 1_000_000_000
    logger.error("\(text)")
  }

  mutating func limitReached(_ what: String, _ now: UInt64) -> HandoffRefusal {
    if now >= limitLogged {
      logger.warning(
        """
        handoffs are refused as overloaded: \(what) with \(totals.active) connections in this loop. Raise LimitNOFILE \
        (two descriptors for each connection) or the connection limit, or add server nodes
        """)
    }
    limitLogged = now + 60_000_000_000
    return .overloaded
  }
}

extension TCPRepair.Connection {
  init(_ snapshot: TCPSnapshot) {
    self.init(
      local: snapshot.flow.service, remote: snapshot.flow.client, sendNext: snapshot.sendNext,
      receiveNext: snapshot.receiveNext, sendWindow: snapshot.sendWindow, receiveWindow: snapshot.receiveWindow,
      maximumSegmentSize: snapshot.maximumSegmentSize, sendShift: snapshot.windowScale?.send ?? 0,
      receiveShift: snapshot.windowScale?.receive ?? 0, sackPermitted: snapshot.sackPermitted,
      timestamp: snapshot.timestamps?.nextValue)
  }
}
