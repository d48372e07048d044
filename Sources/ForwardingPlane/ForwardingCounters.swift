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
  /// A SYN without an entry. Passed to user space.
  case synNew
  /// The SYN that began the flow, once more. Dropped.
  case synDuplicate
  /// A SYN of a new connection on a flow's tuple. The entry is deleted, the SYN passed to user space.
  case synReused
  /// Sent to the back-end.
  case forwarded
  /// Marked for the back-end on this node and passed.
  case deliveredLocally
  /// To a served endpoint, without an entry. Passed to user space.
  case toUserSpace
  /// The frame could not be rewritten because the kernel is out of memory. Dropped; the client retransmits.
  case rewriteFailed

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
