// SPDX-License-Identifier: Apache-2.0

public import Wire

/// Which served addresses this node must have on its loopback interface, and when they go.
public struct ServiceAddressPlan: Hashable, Sendable {
  /// How an address of the plan stands.
  public enum Standing: Hashable, Sendable {
    case serving
    /// No distributor serves it any more; kept while connections on it are open, at most until the given time.
    case lingering(since: UInt64)
  }

  /// An address as the node has it.
  public enum Presence: Hashable, Sendable {
    case absent
    /// Put there by this agent.
    case own
    /// Put there by somebody else: a distributor on the same node, or the operator.
    case foreign
  }

  public enum Step: Hashable, Sendable {
    case add(IPAddress)
    case remove(IPAddress)
  }

  /// The longest time that an address stays for open connections, in nanoseconds.
  public var longestLinger: UInt64
  /// The shortest time that an address stays, in nanoseconds: a distributor that restarts at once finds it in place.
  public var shortestLinger: UInt64
  public private(set) var standing: [IPAddress: Standing] = [:]

  public init(longestLinger: UInt64 = 30_000_000_000, shortestLinger: UInt64 = 2_000_000_000) {
    self.longestLinger = longestLinger
    self.shortestLinger = shortestLinger
  }

  /// Takes the addresses of the newest cluster view.
  public mutating func update(served: some Sequence<IPAddress>, now: UInt64) {
    let served = Set(served)
    for address in served { standing[address] = .serving }
    for (address, state) in standing where state == .serving && !served.contains(address) {
      standing[address] = .lingering(since: now)
    }
  }

  /// What to change on the node now, in a stable order.
  ///
  /// - Parameters:
  ///   - presence: how the node has an address.
  ///   - connections: how many connections are open on an address.
  public mutating func steps(
    now: UInt64, presence: (IPAddress) -> Presence, connections: (IPAddress) -> Int
  ) -> [Step] {
    var steps: [Step] = []
    for address in standing.keys.sorted(by: { ($0.high, $0.low) < ($1.high, $1.low) }) {
      switch standing[address]! {
      case .serving:
        if presence(address) == .absent { steps.append(.add(address)) }
      case .lingering(let since):
        let age = now &- since
        guard age >= longestLinger || (age >= shortestLinger && connections(address) == 0) else { continue }
        standing[address] = nil
        if presence(address) == .own { steps.append(.remove(address)) }
      }
    }
    return steps
  }

  /// True while the passing of time alone can make a step due.
  public var isWaiting: Bool { standing.values.contains { $0 != .serving } }
}
