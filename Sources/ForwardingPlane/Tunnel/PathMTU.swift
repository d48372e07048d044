// SPDX-License-Identifier: Apache-2.0

/// What is known of the longest packet that gets to a server node: what link and route say, and what a router has said
/// since.
struct PathMTU: Hashable, Sendable {
  /// Bytes, as link and route have it.
  var known: Int
  private var told: Told?

  private struct Told: Hashable, Sendable {
    var mtu: Int
    var until: UInt64
  }

  /// Nanoseconds after which a router's word is forgotten, since ways change (RFC 1191 section 6.3, RFC 8201 section 4).
  static let lifetime: UInt64 = 600_000_000_000

  /// No link is taken to have less, whatever a message says: anybody can send one. Over IPv4 what every host can receive
  /// (RFC 791), over IPv6 what every link carries (RFC 8200 section 5).
  static func least(overIPv4: Bool) -> Int { overIPv4 ? 576 : 1280 }

  init(known: Int) { self.known = known }

  /// Bytes of the longest packet.
  var effective: Int { min(known, told?.mtu ?? known) }

  /// A router has said that no more than `mtu` bytes pass. Never more than was known: such a word is not believed.
  mutating func learn(_ mtu: Int, overIPv4: Bool, now: UInt64) {
    let mtu = max(mtu, PathMTU.least(overIPv4: overIPv4))
    if mtu <= effective, mtu < known { told = Told(mtu: mtu, until: now &+ PathMTU.lifetime) }
  }

  /// Forgets what is too old.
  mutating func age(now: UInt64) {
    if let told, now >= told.until { self.told = nil }
  }
}
