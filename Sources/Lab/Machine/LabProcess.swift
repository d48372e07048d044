// SPDX-License-Identifier: Apache-2.0

import Glibc
public import LinuxKernel

/// A long-running program of the lab. It is killed when the last reference goes.
public final class LabProcess: Sendable {
  /// What the program is called in messages.
  public let name: String
  /// Standard output and error, appended.
  public let logFile: String
  private let child: ChildProcess

  public var pid: Int32 { child.pid }

  /// Starts a program in the network namespace of the calling thread.
  public init(
    name: String, _ arguments: [String], environment: [String: String] = [:], directory: String? = nil,
    logFile: String
  ) throws(LabError) {
    self.name = name
    self.logFile = logFile
    do {
      let input = try MemoryFile()
      let log = try FileAccess.openForAppending(logFile)
      child = try ChildProcess(
        arguments, environment: Environment.current(adding: environment), directory: directory,
        streams: .init(input: input.raw, output: log.raw, error: log.raw))
    } catch {
      throw LabError("cannot start \(name): \(error)")
    }
  }

  deinit { kill() }

  /// Nil when the program ended, which `status` tells.
  public var isRunning: Bool { child.wait(until: 0) == nil }

  /// How the program ended, nil while it runs.
  public var status: ChildProcess.ExitStatus? { child.wait(until: 0) }

  /// Waits for the end; nil when the program still runs after so many seconds.
  public func wait(seconds: Double) -> ChildProcess.ExitStatus? {
    child.wait(until: MonotonicTime.now() &+ UInt64(seconds * 1e9))
  }

  public func signal(_ number: Int32) { child.signal(number) }

  /// SIGTERM, then SIGKILL when the program has not ended after `grace` seconds. Returns how it ended.
  @discardableResult
  public func terminate(grace seconds: Double = 5) -> ChildProcess.ExitStatus {
    child.signal(SIGTERM)
    if let status = wait(seconds: seconds) { return status }
    return kill()
  }

  /// SIGKILL, and waits for the end.
  @discardableResult
  public func kill() -> ChildProcess.ExitStatus {
    child.signal(SIGKILL)
    guard let status = child.wait(until: nil) else { preconditionFailure("an endless wait ended") }
    return status
  }

  /// What the program has written so far; the last `limit` bytes.
  public func log(last limit: Int = 16_384) -> String {
    guard let bytes = try? FileAccess.read(logFile) else { return "" }
    return String(decoding: bytes.suffix(limit), as: UTF8.self)
  }
}
