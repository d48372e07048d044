// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import Handoff
import Lab
import LinuxKernel
import Synchronization
import Wire

/// Plays the dispatcher and one distributor worker for an agent, with real connections: a listener at the served endpoints
/// takes each client's connection, reads the head of its first request, freezes the connection, ends it silently, and hands
/// it to the agent. What the wire sees from then on is the agent's.
final class PlayedCluster: Sendable {
  struct Book: Sendable {
    var registration: BackEndRegistration?
    var reports: [LoadReport] = []
    var accepted: [HandoffID] = []
    var refused: [(HandoffID, HandoffRefusal)] = []
    var ended: [HandoffID] = []
    /// Those of `ended` whose clients may not have closed.
    var cut: [HandoffID] = []
    /// Flows of an earlier agent that are over.
    var orphansEnded: [FlowTuple] = []
    /// What the agent says of handoffs by packet, those that it has told of, and those that it wants as messages.
    var offer: PacketHandoffOffer?
    var taken: [HandoffID] = []
    var wanted: [HandoffID] = []
    var newsMessages = 0
    /// Connections are handed to the agent by packet.
    var sendsPackets = false
    /// Messages to send to the agent, taken by the thread.
    var outgoing: [Message] = []
    var services: [Endpoint] = []
    var servicesChanged = false
    var listening: Set<Endpoint> = []
    var connected = false
    var stops = false
    var next: UInt32 = 1
    /// The snapshot of the last connection handed off.
    var lastSnapshot: TCPSnapshot?

    var state: BackEndState? { reports.last?.state }
    var reportedEnds: Int { reports.reduce(0) { $0 + Int($1.ended) } }
  }

  private let shared = Shared()
  private let thread: WorkerThread

  private final class Shared: Sendable {
    let book = Mutex(Book())
  }

  static let dispatcher = Endpoint(TestNetwork.nodeIPv4, 7000)

  init(in network: TestNetwork, agentPort: UInt16 = 7801) throws {
    let shared = self.shared
    let path = network.node.path
    let listener = Handover(try network.node.perform { try StreamSocket.listen(at: PlayedCluster.dispatcher) })
    thread = WorkerThread(name: "played") {
      try? NetworkNamespaceEntry.enter(path)
      var player = Player(listener.take(), Endpoint(TestNetwork.nodeIPv4, agentPort))
      while !shared.book.withLock({ $0.stops }) { player.turn { body in shared.book.withLock { body(&$0) } } }
    }
  }

  deinit {
    shared.book.withLock { $0.stops = true }
    thread.join()
  }

  func read<Value: Sendable>(_ body: (Book) -> Value) -> Value { shared.book.withLock { body($0) } }

  func serve(_ services: [Endpoint]) {
    shared.book.withLock {
      $0.services = services
      $0.servicesChanged = true
    }
  }

  /// From here on connections are handed over by packet.
  func sendByPacket() { shared.book.withLock { $0.sendsPackets = true } }

  private static let name = "played"
  private static let instance: UInt64 = 2

  static let hello = Hello(role: .distributor, instance: instance, name: name)

  /// A handoff of this distributor as the payload of a datagram.
  static func datagram(_ handoff: HandoffRequest, _ offer: PacketHandoffOffer) -> [UInt8] {
    let packet = HandoffPacket(
      origin: HandoffOrigin.value(instance: instance, name: name), id: handoff.id, loop: offer.loop,
      snapshot: handoff.snapshot)
    var bytes = [UInt8](repeating: 0, count: packet.length(requestBytes: handoff.request.count))
    var span = bytes.mutableSpan
    _ = packet.emit(request: handoff.request.span, key: offer.key, into: &span)
    return bytes
  }

  func send(_ message: Message) { shared.book.withLock { $0.outgoing.append(message) } }

  /// Waits until the agent says that it is up and connections can be handed to it.
  func isReady() -> Bool {
    eventually { read { $0.state == .up && $0.connected && $0.listening == Set($0.services) } }
  }
}

/// The thread's own part.
private struct Player: ~Copyable {
  private var epoll: Epoll?
  private let dispatcherListener: StreamSocket
  private let agent: Endpoint
  private var dispatcher: ControlConnection?
  private var distributor: ControlConnection?
  private var greeted = false
  private var redial: UInt64 = 0
  private var listeners: [Endpoint: Box] = [:]
  private var clients: [Client] = []
  private var view = ClusterView(epoch: 0, backEnds: [], services: [])

  final class Box {
    let socket: StreamSocket
    init(_ socket: consuming StreamSocket) { self.socket = socket }
  }

  final class Client {
    var socket: StreamSocket?
    var bytes: [UInt8] = []
    init(_ socket: consuming StreamSocket) { self.socket = consume socket }
  }

  init(_ listener: consuming StreamSocket, _ agent: Endpoint) {
    dispatcherListener = listener
    self.agent = agent
    epoll = try? Epoll()
  }

  /// One pass over everything; the wait between is short instead of exact.
  mutating func turn(_ book: ((inout PlayedCluster.Book) -> Void) -> Void) {
    _ = epoll?.wait(until: MonotonicTime.now() + 200_000)
    let now = MonotonicTime.now()
    turnDispatcher(now, book)
    turnDistributor(now, book)
    turnServices(book)
    turnClients(book)
  }

  private mutating func turnDispatcher(_ now: UInt64, _ book: ((inout PlayedCluster.Book) -> Void) -> Void) {
    if let accepted = try? dispatcherListener.accept() {
      let connection = ControlConnection(adopting: accepted.take(), now: now)
      connection.send(.hello(Hello(role: .dispatcher, instance: 1, name: "played")))
      dispatcher = connection
      book { $0.servicesChanged = true }
    }
    guard let connection = dispatcher else { return }
    var services: [Endpoint]?
    book {
      if $0.servicesChanged {
        services = $0.services
        $0.servicesChanged = false
      }
    }
    if let services {
      view.epoch += 1
      view.services = services
      connection.send(.clusterView(view))
    }
    do {
      try connection.receive(now: now) { message in
        book {
          switch message {
          case .registerBackEnd(let registration): $0.registration = registration
          case .loadReport(let report): $0.reports.append(report)
          default: break
          }
        }
      }
      _ = try connection.keepAlive(now: now)
      try connection.flush()
    } catch {
      dispatcher = nil
    }
  }

  private mutating func turnDistributor(_ now: UInt64, _ book: ((inout PlayedCluster.Book) -> Void) -> Void) {
    guard let connection = distributor else {
      if now < redial { return }
      redial = now + 20_000_000
      distributor = try? ControlConnection.dial(agent, now: now)
      distributor?.send(.hello(PlayedCluster.hello))
      return
    }
    var outgoing: [Message] = []
    book {
      outgoing = $0.outgoing
      $0.outgoing = []
    }
    for message in outgoing { connection.send(message) }
    do {
      try connection.receive(now: now) { message in
        book {
          switch message {
          case .hello: $0.connected = true
          case .handoffAccepted(let id): $0.accepted.append(id)
          case .handoffRefused(let id, let reason): $0.refused.append((id, reason))
          case .handoffsEnded(let ids):
            $0.ended += ids
            $0.newsMessages += 1
          case .handoffsCut(let ids):
            $0.ended += ids
            $0.cut += ids
            $0.newsMessages += 1
          case .handoffsAccepted(let ids):
            $0.taken += ids
            $0.newsMessages += 1
          case .flowsEnded(let flows): $0.orphansEnded += flows
          case .handoffWanted(let id): $0.wanted.append(id)
          case .packetHandoffs(let offer): $0.offer = offer
          default: break
          }
        }
      }
      _ = try connection.keepAlive(now: now)
      try connection.flush()
    } catch {
      distributor = nil
      book { $0.connected = false }
    }
  }

  /// Listens at each service as soon as the agent has made its address one of the node.
  private mutating func turnServices(_ book: ((inout PlayedCluster.Book) -> Void) -> Void) {
    for service in view.services where listeners[service] == nil {
      if let socket = try? StreamSocket.listen(at: service) { listeners[service] = Box(socket) }
    }
    let listening = Set(listeners.keys)
    book { if $0.listening != listening { $0.listening = listening } }
    for listener in listeners.values {
      while let accepted = try? listener.socket.accept() { clients.append(Client(accepted.take())) }
    }
  }

  private mutating func turnClients(_ book: ((inout PlayedCluster.Book) -> Void) -> Void) {
    guard let connection = distributor else { return }
    var buffer = [UInt8](repeating: 0, count: 16 << 10)
    for client in clients {
      guard let socket = client.socket.take() else { continue }
      if case .bytes(let count) = (try? socket.read(into: &buffer)) ?? .wouldBlock { client.bytes += buffer[..<count] }
      guard client.bytes.count >= 4, contains(client.bytes, [13, 10, 13, 10]) else {
        client.socket = consume socket
        continue
      }
      guard let state = try? TCPRepair.capture(socket) else { continue }
      TCPRepair.closeSilently(socket)
      var id = HandoffID(0)
      let snapshot = TCPSnapshot(state)
      var offer: PacketHandoffOffer?
      book {
        offer = $0.sendsPackets ? $0.offer : nil
        id = HandoffID(slot: $0.next, generation: 1)
        $0.next += 1
        $0.lastSnapshot = snapshot
      }
      if let offer {
        let handoff = HandoffRequest(id: id, snapshot: snapshot, request: client.bytes)
        if let socket = try? DatagramSocket(from: agent.address) {
          _ = try? socket.send(PlayedCluster.datagram(handoff, offer).span, to: Endpoint(agent.address, offer.port))
        }
        continue
      }
      connection.sendHandoff(id: id, snapshot: snapshot, request: client.bytes.span, wasSentByPacket: false)
      try? connection.flush()
    }
    clients.removeAll { $0.socket == nil }
  }

  private func contains(_ bytes: [UInt8], _ needle: [UInt8]) -> Bool {
    (0...(bytes.count - needle.count)).contains { bytes[$0..<$0 + needle.count].elementsEqual(needle) }
  }
}

extension TCPSnapshot {
  init(_ state: TCPRepair.Connection) {
    self.init(
      flow: FlowTuple(client: state.remote, service: state.local), sendNext: state.sendNext,
      receiveNext: state.receiveNext, clientInitialSequence: state.receiveNext, sendWindow: state.sendWindow,
      receiveWindow: state.receiveWindow, maximumSegmentSize: state.maximumSegmentSize,
      windowScale: state.receiveShift == 0 ? nil : .init(send: state.sendShift, receive: state.receiveShift),
      sackPermitted: state.sackPermitted,
      timestamps: state.timestamp.map { .init(nextValue: $0 &+ 1, recent: 0) })
  }
}
