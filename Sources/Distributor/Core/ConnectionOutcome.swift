// SPDX-License-Identifier: Apache-2.0

internal import Handoff

/// How an embryonic connection (a SYN that got state) ended.
public enum HandshakeOutcome: Int, Outcome, BitwiseCopyable {
  case completed
  case reset
  /// Our SYN-ACK was never acknowledged.
  case timedOut
  /// The client began a new connection on the same port.
  case superseded
}

/// How a connection with a complete handshake ended.
public enum ConnectionOutcome: Int, Outcome, BitwiseCopyable {
  case handedOff
  case answered400, answered408, answered414, answered431, answered501, answered503, answered505
  /// Reset before it was handed off.
  case clientReset
  /// The client closed before its request was complete; we closed too, without an answer.
  case clientClosed
  /// Nothing came within the head timeout; closed without an answer.
  case idle
  /// The client began a new connection on the same port.
  case superseded

  init(_ answer: StatusAnswer) {
    switch answer {
    case .badRequest: self = .answered400
    case .requestTimeout: self = .answered408
    case .targetTooLong: self = .answered414
    case .headTooLarge: self = .answered431
    case .notImplemented: self = .answered501
    case .unavailable: self = .answered503
    case .versionNotSupported: self = .answered505
    }
  }
}

/// How one attempt to place a connection (from `.decide` on) ended.
public enum HandoffOutcome: Int, Outcome, BitwiseCopyable {
  case accepted
  case refusedServerUnreachable, refusedOverloaded, refusedAddressNotServed, refusedTupleInUse, refusedByKernel
  case refusedDraining
  /// The control connection to the back-end broke.
  case lost
  /// The back-end did not answer in time.
  case timedOut
  /// The decision was: no back-end is up, or none but the one that refused.
  case noBackEnd
  /// The decision was: the cluster is full.
  case overloaded
  /// No decision came in time.
  case undecided
  /// The client reset the connection before a back-end was told of it.
  case clientGone

  init(_ refusal: HandoffRefusal) {
    switch refusal {
    case .serverUnreachable: self = .refusedServerUnreachable
    case .overloaded: self = .refusedOverloaded
    case .addressNotServed: self = .refusedAddressNotServed
    case .tupleInUse: self = .refusedTupleInUse
    case .kernelRefused: self = .refusedByKernel
    case .draining: self = .refusedDraining
    }
  }
}
