// SPDX-License-Identifier: Apache-2.0

public import Rules
public import Wire

/// A distributor asks for one decision. Sent in batches; a further batch only while no batch is unanswered (USENIX 2000,
/// section 5), so batch size adapts to the dispatcher's load by itself.
public struct DecisionRequest: Hashable, Sendable, BitwiseCopyable {
  /// Chosen by the asking worker, returned unchanged.
  public var id: UInt64
  /// SipHash-2-4 of the request target under `TargetHash.key`: the paper's hash instead of the URL.
  public var target: UInt64
  /// Which back-ends may serve it and what it sticks by, as the rules say.
  public var route: Route
  /// A back-end that refused this request before, if any: not to be chosen again.
  public var excluded: BackEndID?

  public init(id: UInt64, target: UInt64, route: Route = Route(), excluded: BackEndID? = nil) {
    self.id = id
    self.target = target
    self.route = route
    self.excluded = excluded
  }
}

/// The dispatcher's answer.
public struct Decision: Hashable, Sendable, BitwiseCopyable {
  public var id: UInt64
  public var outcome: Outcome
  /// With an assignment only: further requests for the same target that need not ask.
  public var lease: Lease?

  public enum Outcome: Hashable, Sendable, BitwiseCopyable {
    /// The connection is counted at this back-end from now on, until the agent reports its end or the distributor returns
    /// the assignment.
    case assigned(BackEndID)
    /// No back-end is up (or all that are were excluded).
    case noBackEnd
    /// The admission limit is reached and the queue is full or the deadline passed.
    case overloaded
  }

  public init(id: UInt64, outcome: Outcome, lease: Lease? = nil) {
    self.id = id
    self.outcome = outcome
    self.lease = lease
  }
}

/// A back-end's account of its connections, sent after changes, batched per event-loop turn.
public struct LoadReport: Hashable, Sendable, BitwiseCopyable {
  /// Connections that ended since the last report of this control connection.
  public var ended: UInt32
  /// Connections open now: the true count, which repairs lost or duplicated events.
  public var active: UInt32
  /// The state that the node declares: `.up`, `.draining`, or `.down` while its web server does not answer.
  public var state: BackEndState

  public init(ended: UInt32, active: UInt32, state: BackEndState) {
    self.ended = ended
    self.active = active
    self.state = state
  }
}

/// The hash of a target that every node computes alike.
public enum TargetHash {
  /// Fixed, so that several distributors agree; the table keyed by it is bounded, and an attacker who aims at collisions
  /// only harms the locality of targets that he made up.
  public static let key = KeyedHash(0x6861_6e64_6f66_6620, 0x7461_7267_6574_2031)
}
