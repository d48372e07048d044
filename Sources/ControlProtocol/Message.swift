// SPDX-License-Identifier: Apache-2.0

public import Handoff
public import Rules
public import Wire

/// A message on a control connection. `decode(encode(x)) == x`.
///
/// Frame, all integers big-endian: length of the body (4 bytes), type (1 byte), three zero bytes, body.
public enum Message: Hashable, Sendable {
  case hello(Hello)
  /// Sent when nothing else was for half a second; a peer that is silent for two seconds is dead.
  case ping
  case pong
  /// The peer refuses the connection or leaves; the text says why and what to do.
  case goodbye(String)

  // Node to dispatcher.
  case registerBackEnd(BackEndRegistration)
  case registerDistributor(DistributorRegistration)
  case loadReport(LoadReport)
  case decisionRequests([DecisionRequest])
  /// Assignments that the distributor could not use: one element per connection, the back-end it was assigned to.
  case assignmentsReturned([BackEndID])
  /// Sent before `assignmentsReturned`, which may give back connections that a lease let through.
  case leaseAccounts([LeaseAccount])

  // Dispatcher to node.
  case clusterView(ClusterView)
  case decisions([Decision])
  /// To distributors only, in answer to `leaseAccounts`.
  case leaseCredits([LeaseCredit])
  /// To one worker of each other distributor when a target was leased: it need not be asked about there.
  case targetLeases([TargetLease])
  /// To distributors only: what comes before the policy. Sent after the hello and whenever it changes.
  case rules(RuleSet)

  // Distributor worker to back-end agent and back.
  case handoff(HandoffRequest)
  case handoffAccepted(HandoffID)
  case handoffRefused(HandoffID, HandoffRefusal)
  /// Connections that are over at the back-end; their clients closed or reset them, or are about to.
  case handoffsEnded([HandoffID])
  /// Connections that are over at the back-end without a word of their clients: reset by the server, given up, or nobody
  /// knows.
  case handoffsCut([HandoffID])
  /// Connections that are over at the back-end, by flow: those that an earlier agent had installed, of which this one knows
  /// neither name nor origin (told to all workers of all distributors), and the answer to `flowsHeld`.
  case flowsEnded([FlowTuple])
  /// From a distributor's worker whose control connection was broken: connections that it knows at the back-end. The agent
  /// says by `flowsEnded` which of them are over.
  case flowsHeld([FlowTuple])
  /// The distributor gave this handoff up: the back-end closes the connection silently if it has it, and says nothing.
  case abortHandoff(HandoffID)
  /// From the agent: whether and how its node takes handoffs by packet from now on.
  case packetHandoffs(PacketHandoffOffer)
  /// Handoffs by packet of which the node has made connections.
  case handoffsAccepted([HandoffID])
  /// A handoff by packet did not make a connection: the agent wants it as a message.
  case handoffWanted(HandoffID)
}

/// A connection on its way to a back-end.
public struct HandoffRequest: Hashable, Sendable {
  public var id: HandoffID
  public var snapshot: TCPSnapshot
  /// Everything that the client sent and that `snapshot.receiveNext` counts: the request head and what came with it.
  public var request: [UInt8]
  /// The handoff was sent by packet before: the node may have the connection already.
  public var wasSentByPacket: Bool

  public init(id: HandoffID, snapshot: TCPSnapshot, request: [UInt8], wasSentByPacket: Bool = false) {
    self.id = id
    self.snapshot = snapshot
    self.request = request
    self.wasSentByPacket = wasSentByPacket
  }
}
