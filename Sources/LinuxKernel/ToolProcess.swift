// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Runs a system tool to its end. Only at start and stop of a role, never on a data path.
///
/// Not by Foundation's `Process`: its `waitUntilExit` sometimes sleeps on when the program has ended.
public enum ToolProcess {
  public struct Result: Sendable, Hashable {
    public var status: Int32
    /// Standard output and standard error together.
    public var output: String
  }

  private static let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
  /// Nanoseconds after which a tool is ended.
  private static let patience: UInt64 = 20_000_000_000

  /// - Parameters:
  ///   - name: looked up in the system folders.
  ///   - input: given to the tool as its standard input.
  /// - Throws: ENOENT when there is no such tool, ETIMEDOUT when it does not end within 20 s.
  public static func run(_ name: String, _ arguments: [String], input: String = "") throws(SystemError) -> Result {
    guard let path = folders.map({ "\($0)/\(name)" }).first(where: isExecutable) else {
      throw SystemError("run", name, errno: ENOENT)
    }
    let standardInput = try MemoryFile(Array(input.utf8))
    let standardOutput = try MemoryFile()
    let process = try ChildProcess(
      [path] + arguments, environment: ["PATH=" + folders.joined(separator: ":"), "LC_ALL=C"], directory: nil,
      streams: ChildProcess.Streams(
        input: standardInput.raw, output: standardOutput.raw, error: standardOutput.raw))
    guard let status = process.wait(until: MonotonicTime.now() + patience) else {
      process.signal(SIGKILL)
      _ = process.wait(until: nil)
      throw SystemError("run", name, errno: ETIMEDOUT)
    }
    let output = String(decoding: try standardOutput.contents(), as: UTF8.self)
    switch status {
    case .exited(let code): return Result(status: code, output: output)
    case .killed(let signal): return Result(status: 128 + signal, output: output)
    }
  }

  private static func isExecutable(_ path: String) -> Bool { unsafe path.withCString { unsafe access($0, X_OK) } == 0 }
}
