// SPDX-License-Identifier: Apache-2.0

public import ControlProtocol
public import LinuxKernel
public import Wire

/// Keeps one outgoing control connection alive: dials, says hello, redials with backoff. Owned by one event loop, which
/// registers `descriptor` and calls the methods; nothing here waits.
public final class Dialer {
  /// What the connection is.
  public enum State {
    /// Not connected; to be dialled at the given time.
    case waiting(until: UInt64)
    /// Dialled, the peer's hello not seen yet.
    case greeting(ControlConnection)
    case established(ControlConnection, Hello)
  }

  /// What the owner must do after an event.
  public enum Event {
    /// The peer said hello: send what it must know.
    case established(ControlConnection, Hello)
    case message(Message)
    /// Lost or not reached; a new attempt follows by itself.
    case lost(ControlChannelError, wasEstablished: Bool)
    /// The peer refuses this node and says why.
    case refused(String)
  }

  public let endpoint: Endpoint
  private let source: IPAddress?
  private let hello: Hello
  private let expecting: Role
  private let token: UInt64
  private var backoff = Backoff()
  private var registeredForWrite = false
  public private(set) var state: State

  /// - Parameters:
  ///   - source: this node's address to connect from; nil: the kernel chooses.
  ///   - token: the epoll token of this connection.
  public init(
    to endpoint: Endpoint, from source: IPAddress? = nil, as hello: Hello, expecting role: Role, token: UInt64,
    now: UInt64
  ) {
    self.endpoint = endpoint
    self.source = source
    self.hello = hello
    self.expecting = role
    self.token = token
    state = .waiting(until: now)
  }

  /// The connection once hellos are exchanged.
  public var connection: ControlConnection? {
    if case .established(let connection, _) = state { return connection }
    return nil
  }

  /// Bytes are queued, or not all were taken.
  public var wantsWrite: Bool { anyConnection?.wantsWrite ?? false }

  private var anyConnection: ControlConnection? {
    switch state {
    case .waiting: nil
    case .greeting(let connection), .established(let connection, _): connection
    }
  }

  /// Dials when it is time, keeps the connection alive, writes what is queued. To be called once per loop turn.
  ///
  /// - Returns: the next time at which it must be called.
  public func turn(_ epoll: borrowing Epoll, now: UInt64, _ body: (Event) -> Void) -> UInt64 {
    if case .waiting(let until) = state {
      if now < until { return until }
      dial(epoll, now: now, body)
    }
    guard let connection = anyConnection else { return wakeTime(now) }
    do {
      let deadline = try connection.keepAlive(now: now)
      try connection.flush()
      try register(connection, epoll)
      return deadline
    } catch {
      lose(error, now: now, body)
      return wakeTime(now)
    }
  }

  private func wakeTime(_ now: UInt64) -> UInt64 {
    if case .waiting(let until) = state { return until }
    return now
  }

  private func dial(_ epoll: borrowing Epoll, now: UInt64, _ body: (Event) -> Void) {
    do {
      let connection = try ControlConnection.dial(endpoint, from: source, now: now)
      connection.send(.hello(hello))
      try epoll.add(connection.descriptor, [.read, .peerHangUp], token: token)
      registeredForWrite = false
      state = .greeting(connection)
    } catch {
      lose(.system(error), now: now, body)
    }
  }

  private func register(_ connection: ControlConnection, _ epoll: borrowing Epoll) throws(ControlChannelError) {
    guard connection.wantsWrite != registeredForWrite else { return }
    registeredForWrite = connection.wantsWrite
    do {
      try epoll.modify(
        connection.descriptor, registeredForWrite ? [.read, .write, .peerHangUp] : [.read, .peerHangUp], token: token)
    } catch {
      throw .system(error)
    }
  }

  /// To be called when the descriptor is ready.
  public func ready(now: UInt64, _ body: (Event) -> Void) {
    guard let connection = anyConnection else { return }
    var refusal: String?
    do {
      try connection.receive(now: now) { message in
        switch message {
        case .hello(let hello): refusal = greeted(hello, connection, body)
        case .goodbye(let text): refusal = text
        default: body(.message(message))
        }
      }
      if let refusal {
        body(.refused(refusal))
        lose(.closed, now: now, body)
      }
    } catch {
      if let refusal { body(.refused(refusal)) }
      lose(error, now: now, body)
    }
  }

  /// - Returns: what is wrong with the peer, nil when it is the right one.
  private func greeted(_ peer: Hello, _ connection: ControlConnection, _ body: (Event) -> Void) -> String? {
    guard case .greeting = state else { return "\(endpoint) said hello twice" }
    guard peer.version == hello.version, peer.role == expecting else {
      return "\(endpoint) is a \(peer.role) of protocol version \(peer.version), "
        + "expected a \(expecting) of version \(hello.version)"
    }
    backoff.succeeded()
    state = .established(connection, peer)
    body(.established(connection, peer))
    return nil
  }

  /// Ends the connection and plans the next attempt.
  private func lose(_ error: ControlChannelError, now: UInt64, _ body: (Event) -> Void) {
    let wasEstablished = connection != nil
    state = .waiting(until: now + backoff.failed())
    body(.lost(error, wasEstablished: wasEstablished))
  }
}
