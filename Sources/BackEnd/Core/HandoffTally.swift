// SPDX-License-Identifier: Apache-2.0

public import Handoff

/// What became of every handoff and every connection of one event loop. At any time
/// `received == accepted + refused + abortedBeforeAnswer + underWay` and `accepted + adopted == ended + active`.
public struct HandoffTally: Sendable, BitwiseCopyable {
  public private(set) var received: UInt64 = 0
  public private(set) var accepted: UInt64 = 0
  private var refusals = InlineArray<6, UInt64>(repeating: 0)
  public private(set) var abortedBeforeAnswer: UInt64 = 0
  private var ends = InlineArray<10, UInt64>(repeating: 0)
  /// Of the accepted ones, those that the web server itself has.
  public private(set) var direct: UInt64 = 0
  /// Connections of the web server that a killed predecessor had installed.
  public private(set) var adopted: UInt64 = 0
  private var fallbacks = InlineArray<4, UInt64>(repeating: 0)
  /// Segments sent again because the listener's accept queue was full.
  public var directRetries: UInt64 = 0
  /// Of the direct ones, those that the kernel took from a packet; and packets of which it could not make a connection.
  public var takenFromPackets: UInt64 = 0
  public var packetsDeclined: UInt64 = 0
  /// Bytes that the clients sent and the servers took, the requests of the handoffs included.
  public var bytesFromClients: UInt64 = 0
  public var bytesFromServers: UInt64 = 0
  /// Old connections that stood in the way of a new one with the same 4-tuple and were removed.
  public var tuplesFreed: UInt64 = 0
  /// Aborts for handoffs that this node does not have: over already.
  public var abortsWithoutHandoff: UInt64 = 0

  public init() {}

  public mutating func handoffReceived() { received += 1 }
  public mutating func handoffAccepted() { accepted += 1 }
  public mutating func directAccepted() {
    accepted += 1
    direct += 1
  }
  public mutating func connectionAdopted() { adopted += 1 }
  public mutating func fellBack(_ obstacle: DirectObstacle) { fallbacks[Int(obstacle.rawValue)] += 1 }
  public mutating func handoffRefused(_ reason: HandoffRefusal) { refusals[Int(reason.rawValue) - 1] += 1 }
  public mutating func handoffAborted() { abortedBeforeAnswer += 1 }
  public mutating func connectionEnded(_ end: RelayEnd) { ends[Int(end.rawValue)] += 1 }

  public func refused(_ reason: HandoffRefusal) -> UInt64 { refusals[Int(reason.rawValue) - 1] }
  public func ended(_ end: RelayEnd) -> UInt64 { ends[Int(end.rawValue)] }

  public func fallenBack(_ obstacle: DirectObstacle) -> UInt64 { fallbacks[Int(obstacle.rawValue)] }

  public var refusedInAll: UInt64 { HandoffRefusal.allCases.reduce(0) { $0 + refused($1) } }
  public var endedInAll: UInt64 { RelayEnd.allCases.reduce(0) { $0 + ended($1) } }
  public var active: UInt64 { accepted + adopted - endedInAll }
  /// Handoffs whose answer is not given yet.
  public var underWay: UInt64 { received - accepted - refusedInAll - abortedBeforeAnswer }

  public mutating func add(_ other: HandoffTally) {
    received += other.received
    accepted += other.accepted
    abortedBeforeAnswer += other.abortedBeforeAnswer
    bytesFromClients += other.bytesFromClients
    bytesFromServers += other.bytesFromServers
    tuplesFreed += other.tuplesFreed
    abortsWithoutHandoff += other.abortsWithoutHandoff
    direct += other.direct
    adopted += other.adopted
    directRetries += other.directRetries
    takenFromPackets += other.takenFromPackets
    packetsDeclined += other.packetsDeclined
    for index in fallbacks.indices { fallbacks[index] += other.fallbacks[index] }
    for index in refusals.indices { refusals[index] += other.refusals[index] }
    for index in ends.indices { ends[index] += other.ends[index] }
  }
}
