// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxKernel
import Synchronization

/// The program at egress that drops resets of connections that are to end unseen; it is there only while there are any.
///
/// At tcx, attaching and detaching wait for a grace period of RCU, some ten milliseconds each, and replacing does not: from
/// the first use on, a program that does nothing keeps the place.
final class Silencer: Sendable {
  private let hook: TrafficHook
  private let silence: SharedDescriptor
  private let idle: SharedDescriptor
  private let state = Mutex(State())

  private struct State {
    /// Connections that are being ended now.
    var users = 0
    /// `idle` is at tcx.
    var isIdle = false
  }

  init(_ hook: TrafficHook, silence: SharedDescriptor, idle: SharedDescriptor) {
    self.hook = hook
    self.silence = silence
    self.idle = idle
  }

  /// Until `end`, resets of the connections that the map names are dropped.
  func begin() throws(ForwardingPlaneError) {
    try state.withLock { state throws(ForwardingPlaneError) in
      if state.users == 0 {
        switch hook.way {
        case .clsact: _ = try hook.filter.attach(silence)
        // Where somebody has removed the idle one, it goes in anew.
        case .tcx: if !state.isIdle || !replace(idle, by: silence) { try hook.enter(silence) }
        }
      }
      state.users += 1
    }
  }

  func end() {
    state.withLock { state in
      state.users -= 1
      guard state.users == 0 else { return }
      switch hook.way {
      case .clsact: try? hook.filter.detach()
      case .tcx:
        state.isIdle = replace(silence, by: idle)
        if !state.isIdle { _ = try? hook.leave(silence) }
      }
    }
  }

  private func replace(_ former: SharedDescriptor, by next: SharedDescriptor) -> Bool {
    (try? hook.express.attach(next.raw, .inPlace(of: former.raw))) != nil
  }

  func remove() {
    state.withLock { state in
      guard state.isIdle else { return }
      _ = try? hook.leave(idle)
      state.isIdle = false
    }
  }
}
