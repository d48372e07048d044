// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Synchronization
import Telemetry

/// The roles of this process, shared by the main thread, the thread that waits for their end, and the admin server.
final class RoleTable: Sendable {
  private struct State {
    var roles: [any RunningRole] = []
    /// Why roles are missing: nil once all are started.
    var startUp: String? = "starting"
    var isStopping = false
    /// Nanoseconds; when roles are stopped.
    var deadline: UInt64 = .max
  }

  private let state = Mutex(State())

  /// In the order of starting.
  var roles: [any RunningRole] { state.withLock { $0.roles } }

  func add(_ role: any RunningRole) { state.withLock { $0.roles.append(role) } }

  func waits(for reason: String) { state.withLock { $0.startUp = reason } }

  func allStarted() { state.withLock { $0.startUp = nil } }

  func health() -> HealthReport {
    let (roles, startUp, isStopping) = state.withLock { ($0.roles, $0.startUp, $0.isStopping) }
    var entries = roles.map { role in
      // A role may need a moment to notice that it was told to stop.
      HealthReport.Entry(role: role.name, health: isStopping ? .draining : role.health())
    }
    if let startUp, !isStopping { entries.append(.init(role: "node", health: .waiting(startUp))) }
    if isStopping, entries.isEmpty { entries.append(.init(role: "node", health: .draining)) }
    return HealthReport(entries)
  }

  /// Tells every role to end by `deadline`. May be called again with an earlier one.
  ///
  /// In reverse order of starting; the dispatcher is only told when no other role of this process needs it any more,
  /// which `joinAll` does, unless there is no time left.
  func stop(by deadline: UInt64, now: UInt64) {
    let roles = state.withLock { state -> [any RunningRole] in
      state.isStopping = true
      state.deadline = min(state.deadline, deadline)
      return state.roles
    }
    let seconds = RoleTable.seconds(from: now, to: deadline)
    for role in roles.reversed() where seconds == 0 || role.name != NodeRole.dispatcher.rawValue || roles.count == 1 {
      role.stop(draining: seconds)
    }
  }

  /// Waits for all roles; blocks. To be called after `stop`.
  func joinAll() {
    let roles = self.roles
    for role in roles.reversed() {
      if role.name == NodeRole.dispatcher.rawValue {
        let deadline = state.withLock { $0.deadline }
        role.stop(draining: RoleTable.seconds(from: MonotonicTime.now(), to: deadline))
      }
      role.join()
    }
  }

  private static func seconds(from now: UInt64, to deadline: UInt64) -> Double {
    deadline <= now ? 0 : Double(deadline - now) / 1e9
  }
}
