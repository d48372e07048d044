// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ControlChannel
import ControlProtocol
import Handoff
import LinuxKernel
import Logging
import Wire

/// A distributor worker's control connection.
struct Peer {
  var generation: UInt32 = 0
  var connection: ControlConnection?
  var registeredForWrite = false
  var greeted = false
  var name = ""
  /// `HandoffOrigin` of the worker.
  var origin: UInt64 = 0
  /// What it was last told of handoffs by packet.
  var offered: PacketHandoffOffer?
  /// Connections made of packets that it was not told of yet, with the generation of their slot.
  var taken: [(slot: UInt32, generation: UInt32)] = []
  var wakeTime: UInt64 = 0
  /// Connections whose end is still to be told: those that their clients closed, and others.
  var ended: [HandoffID] = []
  var cut: [HandoffID] = []
  /// When both are to be told at the latest: they share messages, as nobody waits for them.
  var newsDue = UInt64.max
  /// Ends of orphans that it was told of (`UntoldEnds`), or has asked about by itself.
  var orphansSeen = 0
  /// Accepted, but the answer is not written yet. The peer cannot know of them: if the control connection breaks now, it
  /// gives the connections to another back-end.
  var unannounced: [HandoffID] = []
}

extension HandoffLoop {
  mutating func adoptPeer(_ socket: consuming StreamSocket, _ now: UInt64) {
    let connection = ControlConnection(adopting: socket, now: now)
    let index: Int
    if let free = peers.firstIndex(where: { $0.connection == nil }) {
      index = free
    } else {
      index = peers.count
      peers.append(Peer())
    }
    let generation = peers[index].generation &+ 1
    peers[index] = Peer(generation: generation, connection: connection, wakeTime: now)
    do {
      try epoll.add(
        connection.descriptor, [.read, .peerHangUp],
        token: LoopToken(.peer, index: UInt32(index), generation: generation).rawValue)
    } catch {
      logger.error("control connection refused: \(error)")
      peers[index].connection = nil
      return
    }
    connection.send(.hello(hello))
  }

  mutating func peerReady(_ token: LoopToken, _ interest: Epoll.Interest, _ now: UInt64) {
    guard token.index < peers.count, token.isOf(generation: peers[token.index].generation),
      let connection = peers[token.index].connection
    else { return }
    if connection.isSilent(now: now) { return losePeer(token.index, "\(ControlChannelError.silent)") }
    var messages: [Message] = []
    var failure: ControlChannelError?
    do {
      let isClosed = !interest.isDisjoint(with: [.peerHangUp, .hangUp, .error])
      try connection.receive(now: now, toTheEnd: isClosed) { messages.append($0) }
    } catch {
      failure = error
    }
    // What came with its own abort, or from a peer that is gone, is served elsewhere: this agent was away for a while.
    let isGone = failure != nil
    let aborted = Set(messages.compactMap { if case .abortHandoff(let id) = $0 { id } else { nil } })
    for message in messages {
      guard peers[token.index].connection === connection else { return }
      if case .handoff(let request) = message, isGone || aborted.contains(request.id) {
        tally.handoffReceived()
        tally.handoffAborted()
        continue
      }
      handle(message, from: token.index, connection, now)
    }
    if let failure { losePeer(token.index, "\(failure)") }
  }

  private mutating func handle(
    _ message: Message, from index: Int, _ connection: ControlConnection, _ now: UInt64
  ) {
    switch message {
    case .hello(let hello): greet(hello, index, connection)
    case .handoff(let request) where peers[index].greeted: install(request, peer: index)
    case .abortHandoff(let id) where peers[index].greeted: abort(id, peer: index)
    case .flowsHeld(let flows) where peers[index].greeted: tellEnded(of: flows, to: connection)
    case .pong: break
    case .goodbye(let text): losePeer(index, "it left: \(text)")
    default:
      // A distributor sends nothing else here: its code is not of this protocol.
      losePeer(index, "it sent a message that does not belong on this connection")
    }
  }

  private mutating func greet(_ peer: Hello, _ index: Int, _ connection: ControlConnection) {
    guard peer.role == .distributor, peer.version == hello.version else {
      connection.send(
        .goodbye(
          "this is the back-end agent of \(hello.name) with protocol version \(hello.version); "
            + "it takes handoffs from distributors of the same version"))
      try? connection.flush()
      losePeer(index, "\(peer.name) is a \(peer.role) of version \(peer.version)")
      return
    }
    peers[index].greeted = true
    peers[index].name = peer.name
    peers[index].origin = HandoffOrigin.value(instance: peer.instance, name: peer.name)
    // Of what was before it asks by itself (`flowsHeld`).
    _ = control.untold.orphans(after: &peers[index].orphansSeen)
    logger.info("distributor \(peer.name) connected")
  }

  // MARK: News

  /// The end of a connection is told to the distributor's worker that handed it over.
  mutating func tellEnd(_ index: Int, _ end: RelayEnd) {
    let (peer, worker) = (slots[index].peer, slots[index].worker)
    if connection(of: peer) != nil {
      if end.isByClient {
        peers[Int(peer.index)].ended.append(slots[index].id)
      } else {
        peers[Int(peer.index)].cut.append(slots[index].id)
      }
    } else if worker != 0 {
      control.untold.keep([slots[index].id], for: worker, now: MonotonicTime.now())
    } else {
      control.untold.keepOrphan(slots[index].flow, now: MonotonicTime.now())
    }
  }

  /// Once a second: what other loops, or earlier control connections, could not tell.
  mutating func collectUntold(_ now: UInt64) {
    for index in peers.indices where peers[index].greeted {
      peers[index].cut += control.untold.take(peers[index].origin)
      // Not of those whose client has a new connection here by now.
      let orphans = closed(control.untold.orphans(after: &peers[index].orphansSeen))
      if !orphans.isEmpty { peers[index].connection?.send(.flowsEnded(orphans)) }
    }
    control.untold.expire(now)
  }

  /// Sends what the turn produced and keeps connections alive.
  mutating func turnPeers(_ now: UInt64) {
    for index in peers.indices {
      guard let connection = peers[index].connection else { continue }
      offerPackets(index, connection)
      tellNews(index, connection, now)
      do throws(ControlChannelError) {
        if now >= peers[index].wakeTime { peers[index].wakeTime = try connection.keepAlive(now: now) }
        try connection.flush()
        if !connection.wantsWrite { peers[index].unannounced.removeAll(keepingCapacity: true) }
        try registerPeer(index, connection)
      } catch {
        losePeer(index, "\(error)")
      }
    }
  }

  private static let newsTogether = 64
  private static let newsWait: UInt64 = 100_000_000

  private mutating func tellNews(_ index: Int, _ connection: ControlConnection, _ now: UInt64) {
    let count = peers[index].ended.count + peers[index].cut.count + peers[index].taken.count
    if count == 0 { return }
    if peers[index].newsDue == .max {
      // What is seen at a look right after the tick is told at once: the distributor does not wait for ever.
      peers[index].newsDue = MonotonicTime.tick(after: now - HandoffLoop.lookInterval / 2, every: HandoffLoop.newsWait)
    }
    let isDue = now >= peers[index].newsDue || count >= HandoffLoop.newsTogether
    guard isDue || connection.queuedBytes > 0 || mode != .serving else { return }
    sendNews(index, connection)
  }

  mutating func sendNews(_ index: Int, _ connection: ControlConnection) {
    // Of those that are over already the end says enough.
    let standing = peers[index].taken.filter { slots[Int($0.slot)].generation == $0.generation }
    if !standing.isEmpty { connection.send(.handoffsAccepted(standing.map { slots[Int($0.slot)].id })) }
    if !peers[index].ended.isEmpty { connection.send(.handoffsEnded(peers[index].ended)) }
    if !peers[index].cut.isEmpty { connection.send(.handoffsCut(peers[index].cut)) }
    peers[index].taken.removeAll(keepingCapacity: true)
    peers[index].ended.removeAll(keepingCapacity: true)
    peers[index].cut.removeAll(keepingCapacity: true)
    peers[index].newsDue = .max
  }

  /// Writes an answer at once; an error shows again at the end of the turn.
  mutating func flushAnswer(_ peer: Int) {
    guard let connection = peers[peer].connection else { return }
    try? connection.flush()
    if !connection.wantsWrite { peers[peer].unannounced.removeAll(keepingCapacity: true) }
  }

  private mutating func registerPeer(
    _ index: Int, _ connection: ControlConnection
  ) throws(ControlChannelError) {
    guard connection.wantsWrite != peers[index].registeredForWrite else { return }
    peers[index].registeredForWrite = connection.wantsWrite
    let token = LoopToken(.peer, index: UInt32(index), generation: peers[index].generation).rawValue
    do {
      try epoll.modify(
        connection.descriptor, connection.wantsWrite ? [.read, .write, .peerHangUp] : [.read, .peerHangUp],
        token: token)
    } catch {
      throw .system(error)
    }
  }

  /// The connections that it handed over live on; those that it was not told of end without a packet, because it will hand
  /// them to another back-end. It does not so with what the kernel took from a packet.
  mutating func losePeer(_ index: Int, _ reason: String) {
    guard peers[index].connection != nil else { return }
    logger.info("control connection of distributor \(peers[index].name) ended: \(reason)")
    let unannounced = peers[index].unannounced
    if peers[index].greeted {
      control.untold.keep(peers[index].ended + peers[index].cut, for: peers[index].origin, now: MonotonicTime.now())
    }
    let reference = PeerReference(index: UInt32(index), generation: peers[index].generation)
    peers[index] = Peer(generation: reference.generation &+ 1)
    for slot in slots.indices where slots[slot].peer == reference {
      switch slots[slot].phase {
      case .free: break
      case .connecting: abandonHandshake(slot)
      case .installing: if slots[slot].origin == 0 { abandonInstalling(slot) }
      case .relaying, .direct: if unannounced.contains(slots[slot].id) { vanish(slot, countsEnded: false) }
      }
    }
  }
}
