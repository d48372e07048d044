// SPDX-License-Identifier: Apache-2.0

/// Everything that one responder counts. The sums hold after every call:
///
/// - `packetsReceived == packets.total`
/// - `handshakesStarted == handshakes.total + embryonic`
/// - `connectionsOpened == connections.total + open`
/// - `attemptsStarted == attempts.total + attemptsUnderWay`
public struct ResponderCounters: Sendable {
  public internal(set) var packetsReceived: UInt64 = 0
  public internal(set) var packets = OutcomeCounts<PacketOutcome>()

  /// SYNs that got an entry; cookies have none.
  public internal(set) var handshakesStarted: UInt64 = 0
  public internal(set) var handshakes = OutcomeCounts<HandshakeOutcome>()
  /// Entries with the handshake under way, now.
  public internal(set) var embryonic: UInt64 = 0

  /// Handshakes that completed, by an entry or by a cookie.
  public internal(set) var connectionsOpened: UInt64 = 0
  public internal(set) var connections = OutcomeCounts<ConnectionOutcome>()
  /// Connections that are neither handed off nor closed, now.
  public internal(set) var open: UInt64 = 0

  public internal(set) var attemptsStarted: UInt64 = 0
  public internal(set) var attempts = OutcomeCounts<HandoffOutcome>()
  /// Attempts that wait for a decision or for a back-end, now.
  public internal(set) var attemptsUnderWay: UInt64 = 0

  /// Entries of the connection table, tombstones and TIME_WAIT included, now.
  public internal(set) var entries: UInt64 = 0
  /// Receive buffers in use, bytes, now.
  public internal(set) var bufferBytes: UInt64 = 0
  /// Buffers of held packets in use, bytes, now.
  public internal(set) var heldBytes: UInt64 = 0

  /// Segments sent.
  public internal(set) var segmentsSent: UInt64 = 0
  public internal(set) var synAcksRetransmitted: UInt64 = 0
  public internal(set) var answersRetransmitted: UInt64 = 0
  /// Answers that the client never acknowledged, and the connection was reset.
  public internal(set) var answersUnacknowledged: UInt64 = 0
  /// Challenge and duplicate ACKs that were sent, and those that the limit suppressed.
  public internal(set) var challengesSent: UInt64 = 0
  public internal(set) var challengesSuppressed: UInt64 = 0
  /// Resets for unknown segments that were sent, and those that the limit suppressed.
  public internal(set) var resetsSent: UInt64 = 0
  public internal(set) var resetsSuppressed: UInt64 = 0
  /// Segments of unknown flows that were not reset at once, since their beginning may still come.
  public internal(set) var orphansSpared: UInt64 = 0
  /// Cookies that were wrong or too old among segments that could have carried one.
  public internal(set) var cookiesRejected: UInt64 = 0
  /// Answers of dispatcher and back-ends that came when their attempt was over.
  public internal(set) var lateDecisions: UInt64 = 0
  public internal(set) var lateAcceptances: UInt64 = 0
  public internal(set) var lateRefusals: UInt64 = 0
  /// Late acceptances, and attempts that were given up, for which the back-end was told to drop the connection.
  public internal(set) var handoffsAborted: UInt64 = 0
  /// Assignments returned to the dispatcher.
  public internal(set) var assignmentsReturned: UInt64 = 0
  /// Handoffs sent by packet; those of which no word came in time, so that the back-end was asked by message; those that the
  /// back-end wanted as a message; and those that stay where they were sent although the back-end cannot be asked.
  public internal(set) var packetHandoffs: UInt64 = 0
  public internal(set) var packetHandoffsUnconfirmed: UInt64 = 0
  public internal(set) var packetHandoffsDeclined: UInt64 = 0
  public internal(set) var packetHandoffsAssumed: UInt64 = 0
  /// Of the handoffs by packet, those that the kernel made by itself; and those of them that could not be kept here, or not
  /// when they were needed: nobody would notice if they were lost.
  public internal(set) var kernelHandoffs: UInt64 = 0
  public internal(set) var kernelHandoffsUnwatched: UInt64 = 0

  public init() {}

  /// Everything but the outcomes, by metric name. Names that end in `_total` only grow, the rest are gauges.
  public var all: [(name: String, value: UInt64)] {
    [
      ("packets_received_total", packetsReceived),
      ("handshakes_started_total", handshakesStarted),
      ("embryonic_connections", embryonic),
      ("connections_opened_total", connectionsOpened),
      ("open_connections", open),
      ("handoff_attempts_total", attemptsStarted),
      ("handoff_attempts_under_way", attemptsUnderWay),
      ("connection_entries", entries),
      ("receive_buffer_bytes", bufferBytes),
      ("held_packet_bytes", heldBytes),
      ("segments_sent_total", segmentsSent),
      ("syn_acks_retransmitted_total", synAcksRetransmitted),
      ("answers_retransmitted_total", answersRetransmitted),
      ("answers_unacknowledged_total", answersUnacknowledged),
      ("challenges_sent_total", challengesSent),
      ("challenges_suppressed_total", challengesSuppressed),
      ("resets_sent_total", resetsSent),
      ("resets_suppressed_total", resetsSuppressed),
      ("orphans_spared_total", orphansSpared),
      ("cookies_rejected_total", cookiesRejected),
      ("late_decisions_total", lateDecisions),
      ("late_acceptances_total", lateAcceptances),
      ("late_refusals_total", lateRefusals),
      ("handoffs_aborted_total", handoffsAborted),
      ("assignments_returned_total", assignmentsReturned),
      ("packet_handoffs_total", packetHandoffs),
      ("packet_handoffs_unconfirmed_total", packetHandoffsUnconfirmed),
      ("packet_handoffs_declined_total", packetHandoffsDeclined),
      ("packet_handoffs_assumed_total", packetHandoffsAssumed),
      ("kernel_handoffs_total", kernelHandoffs),
      ("kernel_handoffs_unwatched_total", kernelHandoffsUnwatched),
    ]
  }

  /// Whether the four sums above hold.
  public var agrees: Bool {
    packetsReceived == packets.total
      && handshakesStarted == handshakes.total + embryonic
      && connectionsOpened == connections.total + open
      && attemptsStarted == attempts.total + attemptsUnderWay
  }
}
