// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import ForwardingPlane
import Rules

/// What a worker knows of one back-end, and its control connection to it.
struct BackEndLink {
  private(set) var description: BackEndDescription
  private var pools: [PoolID]
  var dialer: Dialer
  /// How clients' packets get there; nil while no way is known.
  var reach: FlowEntry.Action?
  /// Handoffs that this worker gave to it and that have not ended.
  var load: UInt32 = 0
  /// `Hello.instance` of the agent that took the connections counted in `load`.
  var instance: UInt64?
  /// Since when the control connection is down while connections may live on there, in nanoseconds.
  var lostAt: UInt64?

  init(description: BackEndDescription, dialer: Dialer, reach: FlowEntry.Action?) {
    self.description = description
    self.dialer = dialer
    self.reach = reach
    pools = description.registration.pools.map { PoolID($0) }
  }

  var isReady: Bool { dialer.connection != nil }

  func isMember(of pool: PoolID) -> Bool { pool == .every || pools.contains(pool) }

  mutating func update(_ description: BackEndDescription) {
    self.description = description
    pools = description.registration.pools.map { PoolID($0) }
  }
}
