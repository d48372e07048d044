// SPDX-License-Identifier: Apache-2.0

internal import Wire

/// The secrets of handshakes that keep no state. All workers of a node and the kernel's program share them: whoever
/// answers a SYN, any of them can take the acknowledgment.
///
/// A key of cookies is in force for one period of 73 minutes. The next period's key is drawn halfway through the present
/// one and takes the place of the last one, whose cookies have long been too old: nothing ever has to be exchanged at the
/// moment when periods change.
public struct HandshakeKeys: Sendable, Hashable, BitwiseCopyable {
  public struct Cookie: Sendable, Hashable, BitwiseCopyable {
    /// The period in which cookies are made with this key.
    public var period: UInt64
    public var outer0: UInt64
    public var outer1: UInt64
    public var tag: UInt64

    public init(period: UInt64, outer0: UInt64, outer1: UInt64, tag: UInt64) {
      self.period = period
      self.outer0 = outer0
      self.outer1 = outer1
      self.tag = tag
    }

    init(period: UInt64, using generator: inout some RandomNumberGenerator) {
      self.init(period: period, outer0: generator.next(), outer1: generator.next(), tag: generator.next())
    }

    var outer: KeyedHash { KeyedHash(outer0, outer1) }
  }

  /// A period is a value of the monotonic clock, in nanoseconds, shifted by this.
  static let periodShift: UInt64 = 42

  /// The keys of even and odd periods.
  public var even: Cookie
  public var odd: Cookie
  /// Timestamp offsets (RFC 7323 section 7.1). Never changed: a client that comes back must see our timestamps go on.
  public var timestamp0: UInt64
  public var timestamp1: UInt64
  /// Spreads flows over workers, in the kernel.
  public var spread: UInt64

  public init(even: Cookie, odd: Cookie, timestamp0: UInt64, timestamp1: UInt64, spread: UInt64) {
    self.even = even
    self.odd = odd
    self.timestamp0 = timestamp0
    self.timestamp1 = timestamp1
    self.spread = spread
  }

  /// New secrets for a node that has none.
  public init(now: UInt64, using generator: inout some RandomNumberGenerator) {
    let period = now >> HandshakeKeys.periodShift
    let even = period & 1 == 0 ? period : period + 1
    let odd = period & 1 == 0 ? period + 1 : period
    self.init(
      even: Cookie(period: even, using: &generator), odd: Cookie(period: odd, using: &generator),
      timestamp0: generator.next(), timestamp1: generator.next(), spread: generator.next())
  }

  /// Whether these are the secrets of a predecessor, not the zeros of a map that nobody has written.
  public var areDrawn: Bool { timestamp0 != 0 || timestamp1 != 0 }

  /// Draws the keys that are missing: for the present period, and in its second half for the next one.
  ///
  /// - Returns: whether anything changed.
  public mutating func rotate(now: UInt64, using generator: inout some RandomNumberGenerator) -> Bool {
    let period = now >> HandshakeKeys.periodShift
    var changed = draw(period, using: &generator)
    if now & (1 << HandshakeKeys.periodShift - 1) >= 1 << (HandshakeKeys.periodShift - 1) {
      changed = draw(period + 1, using: &generator) || changed
    }
    return changed
  }

  private mutating func draw(_ period: UInt64, using generator: inout some RandomNumberGenerator) -> Bool {
    if cookie(period: period) != nil { return false }
    let key = Cookie(period: period, using: &generator)
    if period & 1 == 0 { even = key } else { odd = key }
    return true
  }

  func cookie(period: UInt64) -> Cookie? {
    let key = period & 1 == 0 ? even : odd
    return key.period == period ? key : nil
  }

  var timestamp: KeyedHash { KeyedHash(timestamp0, timestamp1) }
}
