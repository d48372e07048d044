// SPDX-License-Identifier: Apache-2.0

internal import Wire

/// An initial sequence number that is the only state of a handshake (RFC 4987 section 3.6): five bits of a counter of
/// 69 s, three bits of MSS, and 24 bits of a keyed hash over the flow, the client's number, the whole counter and the MSS.
/// The upper byte is masked by the flow's key, so that the numbers of different flows tell nothing of each other.
///
/// A cookie is valid while its counter is the present one or the one before: 69 to 137 s. Who guesses has one chance in
/// 2^23 per segment.
///
/// The kernel's program makes the same numbers: `cookie.bpf.h`.
struct SynCookie {
  private static let counterShift: UInt64 = 36
  /// How long after the last cookie segments are still looked at for one.
  static let lifetime: UInt64 = 2 << counterShift

  private let keys: HandshakeKeys
  private let flow: FlowTuple
  private let clientInitial: SequenceNumber

  init(keys: HandshakeKeys, flow: FlowTuple, clientInitial: SequenceNumber) {
    self.keys = keys
    self.flow = flow
    self.clientInitial = clientInitial
  }

  /// Nil without a key for the present period, which `HandshakeKeys.rotate` prevents.
  func make(maximumSegmentSize: UInt16, now: UInt64) -> SequenceNumber? {
    guard let secret = Secret(keys, flow, clientInitial, at: now) else { return nil }
    var index: UInt32 = 7
    while index > 0, SynCookie.segmentSize(index) > maximumSegmentSize { index -= 1 }
    return secret.cookie(index: index)
  }

  /// The client's MSS, rounded down to one that a cookie can say; nil for a wrong or too old cookie.
  func validate(_ number: SequenceNumber, now: UInt64) -> UInt16? {
    for age in 0..<UInt64(2) {
      guard let secret = Secret(keys, flow, clientInitial, at: now &- age << SynCookie.counterShift) else { continue }
      let index = ((number.rawValue ^ secret.mask) >> 24) & 7
      if number == secret.cookie(index: index) { return SynCookie.segmentSize(index) }
    }
    return nil
  }

  /// What makes the cookies of one flow within one count.
  private struct Secret {
    /// The flow's own key: a keyed hash of it and of the client's number. Only its upper byte and a hash under it reach
    /// the wire.
    private let flowKey: UInt64
    private let tagKey: UInt64
    private let counter: UInt32

    init?(_ keys: HandshakeKeys, _ flow: FlowTuple, _ clientInitial: SequenceNumber, at time: UInt64) {
      guard let key = keys.cookie(period: time >> HandshakeKeys.periodShift) else { return nil }
      counter = UInt32(truncatingIfNeeded: time >> SynCookie.counterShift)
      flowKey = key.outer.hash(flow, salt: clientInitial.rawValue)
      tagKey = key.tag
    }

    var mask: UInt32 { UInt32(truncatingIfNeeded: flowKey >> 32) & 0xff00_0000 }

    func cookie(index: UInt32) -> SequenceNumber {
      let tag =
        UInt32(truncatingIfNeeded: KeyedHash(flowKey, tagKey).hash(UInt64(counter << 3 | index))) & 0x00ff_ffff
      return SequenceNumber(((counter & 31) << 27 | index << 24) ^ mask | tag)
    }
  }

  /// The sizes that clients really announce: the default, tunnels, PPPoE and Ethernet in both families.
  private static func segmentSize(_ index: UInt32) -> UInt16 {
    switch index {
    case 0: 536
    case 1: 1024
    case 2: 1220
    case 3: 1300
    case 4: 1380
    case 5: 1412
    case 6: 1440
    default: 1460
    }
  }
}

/// What a cookie has no room for travels in the five low bits of our first TSval, which the client echoes: its window
/// scale and SACK-permitted. Clients without timestamps do without both.
enum CookieTimestamp {
  private static let noScale: UInt32 = 15

  /// The latest value that is not after `value` and carries the options, so that our timestamps never run backwards.
  static func encode(_ value: UInt32, windowScale: UInt8?, sackPermitted: Bool) -> UInt32 {
    let bits = windowScale.map(UInt32.init) ?? noScale
    let coded = value & ~31 | (sackPermitted ? 16 : 0) | bits & 15
    return TimestampClock.isOlder(value, than: coded) ? coded &- 32 : coded
  }

  static func decode(_ echo: UInt32) -> (windowScale: UInt8?, sackPermitted: Bool) {
    (echo & 15 == noScale ? nil : UInt8(echo & 15), echo & 16 != 0)
  }
}
