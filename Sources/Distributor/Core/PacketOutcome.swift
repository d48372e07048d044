// SPDX-License-Identifier: Apache-2.0

internal import Wire

/// How a packet that was given to `Responder.receive` ended. Each ends in exactly one.
public enum PacketOutcome: Int, Outcome {
  // MARK: Not a segment (see `WireError`)
  case truncated, badIPHeader, badIPChecksum, fragment, notTCP, mappedAddress, badSourceAddress, badTCPHeader
  case badTCPChecksum, badTCPOptions
  /// A source that cannot be answered (unspecified, multicast, broadcast, port 0, or the service itself), or SYN together
  /// with FIN or RST.
  case implausible
  /// To an address or port that is not served.
  case notService

  // MARK: SYN
  /// A new embryonic connection.
  case synAccepted
  /// Answered by a cookie: the embryonic bound or the table was full.
  case synCookieSent
  /// A retransmitted SYN; the SYN-ACK was repeated.
  case synRepeated
  /// A late duplicate of the SYN of a connection that was handed off or closed; dropped.
  case synDuplicate
  /// A SYN in the middle of a connection: RFC 5961 section 4.
  case synChallenged
  /// Dropped because the responder drains.
  case synWhileDraining

  // MARK: Handshake
  case handshakeCompleted
  case cookieAccepted
  /// A right cookie, but the table was full; dropped, the client will retransmit.
  case tableFull
  /// An acknowledgment of something that we did not send; answered by a reset (RFC 9293 section 3.10.7.4).
  case handshakeRefused

  // MARK: Checks of RFC 9293, 7323 and 5961
  /// Timestamps were negotiated and the segment has none (RFC 7323 section 3.2).
  case timestampMissing
  /// PAWS (RFC 7323 section 5.3).
  case timestampOld
  case outOfWindow
  /// Neither ACK nor RST nor SYN.
  case acknowledgmentMissing
  /// Acknowledges what we did not send or long ago sent (RFC 5961 section 5).
  case acknowledgmentInvalid

  // MARK: Before the handoff
  /// A pure acknowledgment or window update.
  case acknowledgment
  case dataInOrder
  /// Kept, but before it something is missing.
  case dataOutOfOrder
  /// Everything in it was there already; acknowledged again.
  case dataDuplicate
  /// More gaps than are kept track of; dropped, acknowledged again.
  case dataTooFragmented
  /// No receive buffer left; dropped unacknowledged.
  case bufferExhausted
  /// A FIN without new data.
  case fin
  case resetAccepted
  /// A reset in the window, not at its start: challenged (RFC 5961 section 3).
  case resetChallenged
  /// A reset outside of the window.
  case resetIgnored

  // MARK: During and after the handoff
  case held
  /// The bound of held packets was reached.
  case holdExhausted
  /// A pure acknowledgment during the handoff that says nothing new.
  case notHeld
  /// To the back-end, within the tombstone's time.
  case delivered
  /// Given to the driver as `.unknownFlow`.
  case unknownFlow

  // MARK: While we close
  /// Acknowledged and thrown away (RFC 9112 section 9.6).
  case dataDiscarded
  case timeWait

  init(_ error: WireError) {
    switch error {
    case .truncated: self = .truncated
    case .badIPHeader: self = .badIPHeader
    case .badIPChecksum: self = .badIPChecksum
    case .fragment: self = .fragment
    case .notTCP: self = .notTCP
    case .mappedAddress: self = .mappedAddress
    case .badSourceAddress: self = .badSourceAddress
    case .badTCPHeader: self = .badTCPHeader
    case .badTCPChecksum: self = .badTCPChecksum
    case .badTCPOptions: self = .badTCPOptions
    }
  }
}
