// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import ForwardingPlane
import Handoff
import Rules

/// What a worker knows of one back-end, and its control connection to it.
struct BackEndLink {
  private(set) var description: BackEndDescription
  private var pools: [PoolID]
  var dialer: Dialer
  /// When the control connection wants to be looked at, but for bytes that are to be written.
  var turnAt: UInt64 = 0
  /// How clients' packets get there; nil while no way is known.
  var reach: FlowEntry.Action?
  /// Handoffs that this worker gave to it and that have not ended.
  var load: UInt32 = 0
  /// `Hello.instance` of the agent that took the connections counted in `load`.
  var instance: UInt64?
  /// Handoffs may go by packet, and how.
  var offer: PacketHandoffOffer?
  /// Handoffs by packet in a row that the back-end had to be asked about: packets seem not to reach it.
  var packetsUnconfirmed = 0
  /// What the program in the kernel was told of the way there.
  var shownWay: LeaseNode?
  /// Until then nothing is tried by packet.
  var packetsPausedUntil: UInt64 = 0
  /// Since when the control connection is down while connections may live on there, in nanoseconds.
  var lostAt: UInt64?

  init(description: BackEndDescription, dialer: Dialer, reach: FlowEntry.Action?) {
    self.description = description
    self.dialer = dialer
    self.reach = reach
    pools = description.registration.pools.map { PoolID($0) }
  }

  static let unconfirmedLimit = 8
  static let packetPause: UInt64 = 10_000_000_000

  /// Where a handoff of this flow can be sent as one packet, nil when it has to be a message.
  func packetOffer(isIPv4: Bool, now: UInt64) -> PacketHandoffOffer? {
    guard let offer, offer.takes(isIPv4: isIPv4), now >= packetsPausedUntil else { return nil }
    return offer
  }

  mutating func packetUnconfirmed(now: UInt64) {
    packetsUnconfirmed += 1
    if packetsUnconfirmed < BackEndLink.unconfirmedLimit { return }
    packetsUnconfirmed = 0
    packetsPausedUntil = now &+ BackEndLink.packetPause
  }

  var isReady: Bool { dialer.connection != nil }

  func isMember(of pool: PoolID) -> Bool { pool == .every || pools.contains(pool) }

  mutating func update(_ description: BackEndDescription) {
    self.description = description
    pools = description.registration.pools.map { PoolID($0) }
  }
}
