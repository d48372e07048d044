// SPDX-License-Identifier: Apache-2.0

internal import ControlChannel
internal import ControlProtocol
internal import DispatcherCore
internal import Wire

/// One control connection of the dispatcher.
final class DispatcherPeer {
  /// How far the conversation is.
  enum Phase {
    /// Accepted; must say hello before the deadline.
    case greeting(deadline: UInt64)
    case established(Hello)
    /// Was told goodbye; what it still says is thrown away until it closes.
    case leaving(deadline: UInt64)
  }

  let id: PeerID
  let endpoint: Endpoint
  let connection: ControlConnection
  var phase: Phase
  var lastHeard: UInt64
  var isRegisteredForWrite = false
  /// Its descriptor is among `DispatcherLoop.reports`.
  var isReporter = false
  /// Decisions of this loop turn, sent as one message at its end.
  var decisions: [Decision] = []
  /// Credits that it gets at the end of the turn.
  var credits: [LeaseCredit] = []
  /// Leases of other distributors. They go with what is sent next, or when they are many: until then it asks by itself.
  var targets: [TargetLease] = []
  static let targetsTogether = 64
  /// A batch came in this turn: it is answered by one message even when every request of it has to wait, because the
  /// distributor sends no further batch before.
  var owesAnswer = false
  /// Whether something waits to be sent at the end of the turn.
  var isDirty = false

  init(_ id: PeerID, _ endpoint: Endpoint, _ connection: ControlConnection, now: UInt64) {
    self.id = id
    self.endpoint = endpoint
    self.connection = connection
    phase = .greeting(deadline: now + ControlConnection.silenceLimit)
    lastHeard = now
  }

  var hello: Hello? {
    if case .established(let hello) = phase { return hello }
    return nil
  }

  /// For logs.
  var title: String {
    guard let hello else { return "\(endpoint)" }
    return "\(hello.role) \(hello.name) at \(endpoint)"
  }
}

extension DispatcherState.Dismissal {
  /// What the dismissed node is told.
  var text: String {
    switch self {
    case .nameTaken(let name):
      "another node is named \(name) and lives; give every node a name of its own, or stop the other one"
    case .replaced(let name): "a newer connection of node \(name) took the place of this one"
    case .tooManyBackEnds:
      "the dispatcher manages at most \(BackEndSet.capacity) server nodes, and all of them are connected"
    case .tooManyServices:
      "the cluster serves at most \(ControlProtocolLimit.services) addresses; configure fewer on this distributor"
    case .alreadyRegistered: "this connection is registered under another role or name already"
    }
  }

  var end: PeerEnd {
    if case .replaced = self { return .replaced }
    return .refused
  }
}
