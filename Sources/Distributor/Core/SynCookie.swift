// SPDX-License-Identifier: Apache-2.0

internal import Wire

/// What a cookie says of the client's SYN.
struct CookieOffer: Equatable, BitwiseCopyable {
  /// Rounded down to one that a cookie can say.
  var maximumSegmentSize: UInt16
  /// Rounded down as well: the client's window then looks smaller than it is, never larger.
  var windowScale: UInt8?
  var sackPermitted: Bool

  init(maximumSegmentSize: UInt16, windowScale: UInt8?, sackPermitted: Bool) {
    self.maximumSegmentSize = maximumSegmentSize
    self.windowScale = windowScale
    self.sackPermitted = sackPermitted
  }

  /// Seven bits: SACK, three of the scale, three of the size.
  var code: UInt32 {
    var size: UInt32 = 7
    while size > 0, CookieOffer.segmentSize(size) > maximumSegmentSize { size -= 1 }
    var scale: UInt32 = 0
    if let windowScale {
      scale = 7
      while scale > 1, CookieOffer.scale(scale) > windowScale { scale -= 1 }
    }
    return (sackPermitted ? 64 : 0) | scale << 3 | size
  }

  /// The scale that a cookie says for `windowScale`.
  static func roundedDown(_ windowScale: UInt8) -> UInt8? {
    let offer = CookieOffer(maximumSegmentSize: 0, windowScale: windowScale, sackPermitted: false)
    return CookieOffer(code: offer.code).windowScale
  }

  init(code: UInt32) {
    maximumSegmentSize = CookieOffer.segmentSize(code & 7)
    let scale = code >> 3 & 7
    windowScale = scale == 0 ? nil : CookieOffer.scale(scale)
    sackPermitted = code & 64 != 0
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

  /// The scales that clients really announce; index 0 is none.
  private static func scale(_ index: UInt32) -> UInt8 {
    switch index {
    case 0, 1: 0
    case 2: 2
    case 3: 4
    case 4: 6
    case 5: 7
    case 6: 8
    default: 10
    }
  }
}

/// An initial sequence number that is the only state of a handshake (RFC 4987 section 3.6): the lowest bit of a counter of
/// 69 s, seven bits of what the client offered, and 24 bits of a keyed hash over the flow, the client's number, the whole
/// counter and the offer. The upper byte is masked by the flow's key, so that the numbers of different flows tell nothing
/// of each other.
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
  func make(_ offer: CookieOffer, now: UInt64) -> SequenceNumber? {
    Secret(keys, flow, clientInitial, at: now)?.cookie(offer.code)
  }

  /// What the client offered; nil for a wrong or too old cookie.
  func validate(_ number: SequenceNumber, now: UInt64) -> CookieOffer? {
    for age in 0..<UInt64(2) {
      guard let secret = Secret(keys, flow, clientInitial, at: now &- age << SynCookie.counterShift) else { continue }
      let code = ((number.rawValue ^ secret.mask) >> 24) & 127
      if number == secret.cookie(code) { return CookieOffer(code: code) }
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

    func cookie(_ code: UInt32) -> SequenceNumber {
      let tag =
        UInt32(truncatingIfNeeded: KeyedHash(flowKey, tagKey).hash(UInt64(counter << 7 | code))) & 0x00ff_ffff
      return SequenceNumber(((counter & 1) << 31 | code << 24) ^ mask | tag)
    }
  }
}

/// What a cookie has no room for travels in the two low bits of our first TSval, which the client echoes: by how much its
/// window scale is above the one that the cookie says.
///
/// Two bits and not more: the server's kernel takes the echo for the time at which the SYN-ACK was sent, so each bit
/// doubles by how much its first round trip time may be too long. With 32 ms too much it sends its first window in packets
/// of two segments (tcp_tso_autosize), each of which its client acknowledges.
enum CookieTimestamp {
  private static let bits: UInt32 = 3

  /// The latest value that is not after `value` and carries the scale, so that our timestamps never run backwards.
  static func encode(_ value: UInt32, windowScale: UInt8?) -> UInt32 {
    let coded = value & ~bits | above(windowScale)
    return TimestampClock.isOlder(value, than: coded) ? coded &- (bits + 1) : coded
  }

  private static func above(_ windowScale: UInt8?) -> UInt32 {
    guard let windowScale, let least = CookieOffer.roundedDown(windowScale) else { return 0 }
    return min(UInt32(windowScale - least), bits)
  }

  /// The client's scale, of which the cookie says `least`. From 13 on it is 13.
  static func windowScale(in echo: UInt32, atLeast least: UInt8) -> UInt8 {
    let scale = least + UInt8(echo & bits)
    // Whatever else the client may have echoed.
    return CookieOffer.roundedDown(scale) == least ? scale : least
  }
}
