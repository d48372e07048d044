// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import Handoff
import LinuxKernel
import Testing
import Wire

/// Two ends of a control connection over loopback, driven by hand; the clock is the test's.
struct Pair {
  let near: ControlConnection
  let far: ControlConnection

  init(now: UInt64 = 0) throws {
    let listener = try StreamSocket.listen(at: Endpoint(IPAddress(ipv4: 0x7f00_0001), 0))
    near = try ControlConnection.dial(listener.localEndpoint(), now: now)
    far = ControlConnection(adopting: try acceptOne(listener), now: now)
  }
}

func acceptOne(_ listener: borrowing StreamSocket) throws -> StreamSocket {
  let deadline = MonotonicTime.now() + 2_000_000_000
  while MonotonicTime.now() < deadline {
    if let accepted = try listener.accept() { return accepted.take() }
  }
  throw SystemError("accept4", errno: 110)
}

/// Receives until `count` messages came; fails after two seconds.
func receive(_ count: Int, at connection: ControlConnection, now: UInt64 = 0) throws -> [Message] {
  var messages: [Message] = []
  let deadline = MonotonicTime.now() + 2_000_000_000
  while messages.count < count {
    try connection.receive(now: now) { messages.append($0) }
    if MonotonicTime.now() > deadline { break }
  }
  #expect(messages.count == count)
  return messages
}

@Suite struct ControlConnectionTests {
  @Test func messagesArriveInOrderWhateverTheirSize() throws {
    let pair = try Pair()
    let large = DecisionRequest(id: 7, target: 8)
    let sent: [Message] = [
      .hello(Hello(role: .distributor, instance: 1, name: "a")),
      .decisionRequests(Array(repeating: large, count: 8000)),
      .goodbye("later"),
    ]
    for message in sent { pair.near.send(message) }
    var received: [Message] = []
    let deadline = MonotonicTime.now() + 2_000_000_000
    while received.count < sent.count, MonotonicTime.now() < deadline {
      try pair.near.flush()
      try pair.far.receive(now: 0) { received.append($0) }
    }
    #expect(received == sent)
    #expect(!pair.near.wantsWrite)
  }

  @Test func aHandoffFromPartsIsTheMessage() throws {
    let pair = try Pair()
    let flow = FlowTuple(
      client: Endpoint(IPAddress(ipv4: 1), 2), service: Endpoint(IPAddress(high: 3, low: 4), 5))
    let snapshot = TCPSnapshot(
      flow: flow, sendNext: .init(6), receiveNext: .init(7), clientInitialSequence: .init(8), sendWindow: 9,
      receiveWindow: 10, maximumSegmentSize: 1460, windowScale: .init(send: 1, receive: 2), sackPermitted: true,
      timestamps: .init(nextValue: 11, recent: 12))
    let request: [UInt8] = Array("GET / HTTP/1.1\r\n\r\n".utf8)
    pair.near.sendHandoff(id: HandoffID(42), snapshot: snapshot, request: request.span, wasSentByPacket: false)
    try pair.near.flush()
    let expected = Message.handoff(HandoffRequest(id: HandoffID(42), snapshot: snapshot, request: request))
    #expect(try receive(1, at: pair.far) == [expected])
  }

  @Test func garbageIsMalformed() throws {
    let listener = try StreamSocket.listen(at: Endpoint(IPAddress(ipv4: 0x7f00_0001), 0))
    let raw = try StreamSocket(familyOf: IPAddress(ipv4: 0))
    try raw.connect(to: listener.localEndpoint())
    let connection = ControlConnection(adopting: try acceptOne(listener), now: 0)
    _ = try raw.write(Array("GET / HTTP/1.1\r\n\r\n".utf8).span)
    #expect(throws: ControlChannelError.self) { _ = try receive(1, at: connection) }
  }

  @Test func aClosedPeerIsClosed() throws {
    let listener = try StreamSocket.listen(at: Endpoint(IPAddress(ipv4: 0x7f00_0001), 0))
    let connection = try ControlConnection.dial(listener.localEndpoint(), now: 0)
    do { _ = try acceptOne(listener) }
    #expect(throws: ControlChannelError.closed) { _ = try receive(1, at: connection) }
  }

  /// A reader that stops at the last byte takes a handoff of a peer that is gone for one to be served.
  @Test func whatAPeerSentBeforeItClosedIsReadTogetherWithItsEnd() throws {
    let listener = try StreamSocket.listen(at: Endpoint(IPAddress(ipv4: 0x7f00_0001), 0))
    var near: ControlConnection? = try ControlConnection.dial(listener.localEndpoint(), now: 0)
    let far = ControlConnection(adopting: try acceptOne(listener), now: 0)
    var epoll = try Epoll(capacity: 1)
    try epoll.add(far.descriptor, [.peerHangUp], token: 0)
    near?.send(.abortHandoff(HandoffID(7)))
    try near?.flush()
    near = nil
    try #require(epoll.wait(until: MonotonicTime.now() + 2_000_000_000) == 1)
    var received: [Message] = []
    #expect(throws: ControlChannelError.closed) {
      try far.receive(now: 0, toTheEnd: true) { received.append($0) }
    }
    #expect(received == [.abortHandoff(HandoffID(7))])
  }

  @Test func nobodyListening() throws {
    let port = try { try StreamSocket.listen(at: Endpoint(IPAddress(ipv4: 0x7f00_0001), 0)).localEndpoint() }()
    #expect(throws: (any Error).self) {
      let connection = try ControlConnection.dial(port, now: 0)
      _ = try receive(1, at: connection)
    }
  }

  @Test func anIdleConnectionPingsAndASilentPeerIsDead() throws {
    let pair = try Pair(now: 0)
    let interval = ControlConnection.pingInterval
    #expect(try pair.near.keepAlive(now: 1) == interval)
    #expect(!pair.near.wantsWrite)
    _ = try pair.near.keepAlive(now: interval)
    #expect(pair.near.wantsWrite)
    try pair.near.flush()
    // The ping is not given to the owner, but it counts as a sign of life.
    let deadline = MonotonicTime.now() + 2_000_000_000
    let silence = ControlConnection.silenceLimit
    var isAlive = false
    while !isAlive, MonotonicTime.now() < deadline {
      try pair.far.receive(now: silence - 1) { _ in Issue.record("a ping reached the owner") }
      isAlive = (try? pair.far.keepAlive(now: silence)) != nil
    }
    #expect(isAlive)
    #expect(throws: ControlChannelError.silent) { try pair.near.keepAlive(now: silence) }
  }

  @Test func whatAPeerDoesNotReadIsBounded() throws {
    let pair = try Pair()
    let large = Message.decisionRequests(
      Array(repeating: DecisionRequest(id: 1, target: 2), count: 1 << 14))
    // On a busy machine the kernel's TCP_USER_TIMEOUT may be first to give up on the peer.
    let error = #expect(throws: ControlChannelError.self) {
      for _ in 0..<200 {
        pair.near.send(large)
        try pair.near.flush()
      }
    }
    #expect(error == .notReading || error == .system(SystemError("send", errno: 110)))
    #expect(pair.near.queuedBytes <= ControlConnection.queueLimit + (2 << 20))
  }
}
