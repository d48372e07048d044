// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

/// When a process starts, drains and ends. Pure: events and the time in, actions out.
struct LifeCycle: Sendable {
  enum Phase: Sendable, Hashable {
    case starting
    case running
    /// Roles end by themselves, at the latest at `until` (nanoseconds).
    case draining(until: UInt64)
    /// Roles were told to end at once; at `until` this process gives up waiting for them.
    case cutting(until: UInt64)
  }

  enum Event: Sendable, Hashable {
    case started
    case signal(SignalQueue.Signal)
    /// All roles have ended.
    case rolesEnded
    case tick
  }

  enum Action: Sendable, Hashable {
    case none
    case announceReady
    /// Nothing was started yet: leave.
    case leave
    case drain(until: UInt64)
    case cut
    case readLogLevel
    /// Clean end.
    case finish
    /// Some role does not end.
    case abandon
  }

  /// Nanoseconds that roles get to end at once, and after a drain.
  static let patience: UInt64 = 10_000_000_000

  private(set) var phase = Phase.starting
  private let drain: UInt64

  /// - Parameter drain: nanoseconds.
  init(drain: UInt64) { self.drain = drain }

  mutating func handle(_ event: Event, now: UInt64) -> Action {
    switch (phase, event) {
    case (.starting, .started):
      phase = .running
      return .announceReady
    case (.starting, .signal(.interrupt)), (.starting, .signal(.terminate)): return .leave
    case (.running, .signal(.interrupt)), (.running, .signal(.terminate)):
      phase = .draining(until: now + drain)
      return .drain(until: now + drain)
    case (.draining, .signal(.interrupt)), (.draining, .signal(.terminate)):
      phase = .cutting(until: now + LifeCycle.patience)
      return .cut
    case (.draining(let until), .tick) where now >= until + LifeCycle.patience / 2:
      phase = .cutting(until: now + LifeCycle.patience)
      return .cut
    case (.cutting(let until), .tick) where now >= until: return .abandon
    case (.cutting, .signal(.interrupt)), (.cutting, .signal(.terminate)): return .none
    case (_, .signal(.hangUp)): return .readLogLevel
    case (.draining, .rolesEnded), (.cutting, .rolesEnded): return .finish
    // A role that ends by itself has failed.
    case (.running, .rolesEnded): return .abandon
    case (.starting, .rolesEnded), (.starting, .tick), (.running, .started), (.running, .tick): return .none
    case (.draining, .started), (.draining, .tick), (.cutting, .started), (.cutting, .tick): return .none
    }
  }

  /// When `tick` is due at the latest.
  var deadline: UInt64? {
    switch phase {
    case .starting, .running: nil
    case .draining(let until): until + LifeCycle.patience / 2
    case .cutting(let until): until
    }
  }
}
