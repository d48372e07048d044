// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Synchronization

/// A named network namespace, as `ip netns` keeps it. Making one needs CAP_SYS_ADMIN.
public struct NetworkNamespace: Hashable, Sendable {
  public let name: String

  /// A namespace that exists already.
  public init(existing name: String) { self.name = name }

  /// Makes a namespace with its loopback interface up.
  public static func create(_ name: String) throws(LabError) -> NetworkNamespace {
    try Command.run(["ip", "netns", "add", name]).checked()
    let namespace = NetworkNamespace(existing: name)
    try namespace.run(["ip", "link", "set", "lo", "up"]).checked()
    return namespace
  }

  public var path: String { "/run/netns/\(name)" }

  /// Removes the name; the namespace itself goes with its last process and socket.
  public func remove() throws(LabError) {
    try Command.run(["ip", "netns", "del", name]).checked()
  }

  /// Runs a closure on a fresh thread that has entered the namespace. Sockets that it opens stay in the namespace
  /// wherever they are used later.
  public func perform<Result: ~Copyable & Sendable>(
    _ body: @Sendable () throws -> Result
  ) throws -> Result {
    let outcome = Outcome<Result>()
    let path = self.path
    withoutActuallyEscaping(body) { body in
      let thread = WorkerThread(name: "netns") {
        do {
          try NetworkNamespaceEntry.enter(path)
          let result = try body()
          outcome.succeed(result)
        } catch {
          outcome.fail(error)
        }
      }
      thread.join()
    }
    return try outcome.take()
  }

  /// Runs a program in the namespace and waits for its end.
  ///
  /// - Parameter environment: added to this process' own.
  /// - Parameter seconds: after this long the program is killed and the call throws.
  public func run(
    _ arguments: [String], input: [UInt8] = [], environment: [String: String] = [:], directory: String? = nil,
    within seconds: Double = 60
  ) throws(LabError) -> CommandResult {
    do {
      return try perform {
        try Command.run(
          arguments, input: input, environment: environment, directory: directory, within: seconds)
      }
    } catch {
      throw LabError("in namespace \(name): \(error)")
    }
  }

  /// Starts a long-running program in the namespace.
  public func start(
    name: String, _ arguments: [String], environment: [String: String] = [:], directory: String? = nil,
    logFile: String
  ) throws(LabError) -> LabProcess {
    do {
      return try perform {
        try LabProcess(
          name: name, arguments, environment: environment, directory: directory, logFile: logFile)
      }
    } catch {
      throw LabError("in namespace \(self.name): \(error)")
    }
  }
}

/// Carries a result, which may not be copyable, out of a thread.
private final class Outcome<Value: ~Copyable & Sendable>: Sendable {
  private let value = Mutex<Value?>(nil)
  private let failure = Mutex<(any Error)?>(nil)

  func succeed(_ result: consuming sending Value) {
    var result: Value? = consume result
    value.withLock { stored in
      stored = result.take()
    }
  }

  func fail(_ error: any Error) { failure.withLock { $0 = error } }

  func take() throws -> Value {
    if let error = failure.withLock({ $0 }) { throw error }
    return value.withLock { stored in
      guard let result = stored.take() else { preconditionFailure("the thread left nothing") }
      return result
    }
  }
}
