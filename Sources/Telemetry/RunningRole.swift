// SPDX-License-Identifier: Apache-2.0

/// A role (dispatcher, distributor, server node) that runs in this process on its own threads.
public protocol RunningRole: Sendable {
  /// `dispatcher`, `distributor` or `back-end`.
  var name: String { get }

  func health() -> RoleHealth

  /// Asks the role to end: no new work, at most `draining` seconds for what is under way. Returns at once.
  func stop(draining seconds: Double)

  /// Waits until the role has ended and has removed everything that it put into the kernel.
  func join()
}

public enum RoleHealth: Sendable, Hashable {
  /// Runs, but waits for something, for example for the dispatcher.
  case waiting(String)
  case ready
  case draining
  /// A thread of the role has ended by itself: the process cannot go on.
  case failed(String)
}

/// A role that cannot start: what is wrong and what to do about it, both as sentences for an operator.
public struct StartupFailure: Error, Sendable, Hashable, CustomStringConvertible {
  public var problem: String
  public var remedy: String

  public init(_ problem: String, remedy: String) {
    self.problem = problem
    self.remedy = remedy
  }

  public var description: String { "\(problem). \(remedy)." }
}
