// SPDX-License-Identifier: Apache-2.0

/// What the rules say about one request.
public struct Route: Hashable, Sendable, BitwiseCopyable {
  /// The back-ends that may serve it.
  public var pool: PoolID
  /// What it sticks by; nil when the policy alone decides.
  public var affinity: Affinity?

  @inlinable
  public init(pool: PoolID = .every, affinity: Affinity? = nil) {
    self.pool = pool
    self.affinity = affinity
  }
}

/// Names the tie of a client or a session to a back-end, without telling which client or session.
public struct Affinity: Hashable, Sendable, BitwiseCopyable {
  /// Keyed hash of pool and cookie value, or of pool and client.
  public var key: UInt64
  /// With a cookie, the client's key: taken where `key` is not known yet. 0 for none.
  public var seed: UInt64
  /// Seconds; at least 1.
  public var lifetime: UInt32

  @inlinable
  public init(key: UInt64, seed: UInt64 = 0, lifetime: UInt32) {
    self.key = key
    self.seed = seed
    self.lifetime = max(1, lifetime)
  }

  /// The same for all requests of a client, with and without cookie: what a rule without memory goes by.
  @inlinable
  public var clientKey: UInt64 { seed == 0 ? key : seed }
}
