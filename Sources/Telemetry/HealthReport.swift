// SPDX-License-Identifier: Apache-2.0

/// What `/healthz` says about the process.
public struct HealthReport: Sendable, Hashable {
  public struct Entry: Sendable, Hashable {
    public var role: String
    public var health: RoleHealth

    public init(role: String, health: RoleHealth) {
      self.role = role
      self.health = health
    }
  }

  public var entries: [Entry]

  public init(_ entries: [Entry]) { self.entries = entries }

  /// Every role is ready, and there is one.
  public var isReady: Bool { !entries.isEmpty && entries.allSatisfy { $0.health == .ready } }

  /// The first role that has failed and what is known of it.
  public var failure: String? {
    for entry in entries {
      if case .failed(let reason) = entry.health { return "\(entry.role): \(reason)" }
    }
    return nil
  }

  /// One line per role: `distributor: waiting: no connection to the dispatcher`.
  public var text: String {
    if entries.isEmpty { return "starting\n" }
    return entries.map { "\($0.role): \($0.health)\n" }.joined()
  }
}

extension RoleHealth: CustomStringConvertible {
  public var description: String {
    switch self {
    case .waiting(let reason): "waiting: \(reason)"
    case .ready: "ready"
    case .draining: "draining"
    case .failed(let reason): "failed: \(reason)"
    }
  }

  /// Value of `handoff_role_state{role,state}`.
  var state: String {
    switch self {
    case .waiting: "waiting"
    case .ready: "ready"
    case .draining: "draining"
    case .failed: "failed"
    }
  }
}

extension HealthReport {
  /// `handoff_role_state`: 1 for the state that a role is in, 0 for the others.
  public func family() -> MetricFamily {
    MetricFamily(
      "handoff_role_state", help: "1 for the state that the role is in.", kind: .gauge,
      samples: entries.flatMap { entry in
        ["waiting", "ready", "draining", "failed"].map { state in
          .init(
            labels: [.init("role", entry.role), .init("state", state)], value: entry.health.state == state ? 1 : 0)
        }
      })
  }
}
