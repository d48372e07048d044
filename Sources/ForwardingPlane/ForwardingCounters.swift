// SPDX-License-Identifier: Apache-2.0

/// How a packet left the forwarding program. Every packet that the hook sees has exactly one.
///
/// The raw values are those of `enum handoff_outcome` in flow_table.h.
public enum ForwardingOutcome: Int, CaseIterable, Hashable, Sendable {
  /// Not TCP over IPv4 or IPv6, VLAN-tagged, not addressed to this node, or to an endpoint that is not served. Passed.
  case notService
  /// Shorter than its own headers say, or with a header length that is not allowed. Passed.
  case malformed
  /// An IPv4 fragment of a TCP segment. Passed.
  case fragment
  /// IPv6 with an extension header before the transport header. Passed.
  case extensionHeader
  /// A SYN without an entry, for user space.
  case synNew
  /// The SYN that began the flow, once more. Dropped.
  case synDuplicate
  /// A SYN of a new connection on the tuple of a flow that has ended. The entry is deleted, the SYN is answered or goes to
  /// user space.
  case synReused
  /// Sent to the back-end.
  case forwarded
  /// Marked for the back-end on this node and passed.
  case deliveredLocally
  /// To a served endpoint, without an entry, for user space.
  case toUserSpace
  /// The frame could not be rewritten because the kernel is out of memory. Dropped; the client retransmits.
  case rewriteFailed

  /// A SYN without an entry, answered by the program with a cookie.
  case synAnswered
  /// A SYN that cannot be answered: wrong checksum, bad options, FIN or RST beside the SYN, a source that is no host.
  /// Dropped.
  case synMalformed
  /// A SYN while no process of the distributor lives. Dropped, so that the client repeats it.
  case synUnattended
  /// A SYN of a new connection while the node drains. Dropped.
  case synDraining
  /// A SYN with another number on a flow that is alive: answered with a challenge. The entry stays.
  case synChallenged
  /// The reset that answers the challenge. The entry is deleted, the reset consumed.
  case challengeConfirmed
  /// The acknowledgment of a cookie, without data. Consumed.
  case ackAbsorbed
  /// For user space, but the worker's ring is full or the packet longer than 65,535 bytes. Dropped.
  case ringFull
  /// For user space, but no process of the distributor lives. Dropped.
  case unattended
  /// Sent to the back-end in a tunnel.
  case tunnelled
  /// The flow's tunnel is not in the table. Dropped.
  case tunnelUnknown
  /// With the tunnel's headers too long for the way. For user space, which cuts it; its client is told, unless that wants to
  /// hear of no such thing.
  case tunnelTooBig
  /// The hop limit is used up. Dropped.
  case hopsExceeded
  /// A router's error about a packet of the back-end, sent on to it.
  case errorForwarded
  /// A first request, handed off by the program under a lease.
  case handedOff

  /// The value of the metric's label `outcome`.
  public var label: String {
    switch self {
    case .notService: "not_service"
    case .malformed: "malformed"
    case .fragment: "fragment"
    case .extensionHeader: "extension_header"
    case .synNew: "syn_new"
    case .synDuplicate: "syn_duplicate"
    case .synReused: "syn_reused"
    case .forwarded: "forwarded"
    case .deliveredLocally: "delivered_locally"
    case .toUserSpace: "to_user_space"
    case .rewriteFailed: "rewrite_failed"
    case .synAnswered: "syn_answered"
    case .synMalformed: "syn_malformed"
    case .synUnattended: "syn_unattended"
    case .synDraining: "syn_draining"
    case .synChallenged: "syn_challenged"
    case .challengeConfirmed: "challenge_confirmed"
    case .ackAbsorbed: "ack_absorbed"
    case .ringFull: "ring_full"
    case .unattended: "unattended"
    case .tunnelled: "tunnelled"
    case .tunnelUnknown: "tunnel_unknown"
    case .tunnelTooBig: "tunnel_too_big"
    case .hopsExceeded: "hops_exceeded"
    case .errorForwarded: "error_forwarded"
    case .handedOff: "handed_off"
    }
  }
}

/// Packets by outcome since the maps were made; an adopting process goes on counting where its predecessor ended.
public struct ForwardingCounters: Hashable, Sendable {
  private var packets: [UInt64]

  init(_ packets: [UInt64]) {
    precondition(packets.count == ForwardingOutcome.allCases.count)
    self.packets = packets
  }

  public subscript(outcome: ForwardingOutcome) -> UInt64 { packets[outcome.rawValue] }

  /// Every packet that the program saw: the sum of all outcomes.
  public var total: UInt64 { packets.reduce(0, &+) }
}
