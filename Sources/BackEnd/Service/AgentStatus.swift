// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import Synchronization
import Telemetry

/// What the control thread shows of itself.
struct AgentStatus: Sendable {
  var dispatcherConnected = false
  var serverUp = false
  var state = BackEndState.down
  var servedAddresses = 0
  /// What the agent waits for, empty when nothing.
  var waitingFor = "the dispatcher"
  var dispatcherReconnects: UInt64 = 0
  var controlConnectionsRefused: UInt64 = 0
}

/// What the role's owner asks of the control thread.
final class StopRequest: Sendable {
  private let deadline = Mutex<UInt64?>(nil)

  /// The earliest deadline asked for holds.
  func ask(until time: UInt64) { deadline.withLock { $0 = min($0 ?? .max, time) } }

  /// When the agent must have ended, nil while it is not asked to.
  var time: UInt64? { deadline.withLock { $0 } }
}
