// SPDX-License-Identifier: Apache-2.0

import Glibc
public import LinuxKernel

/// What a finished command left.
public struct CommandResult: Sendable {
  public var arguments: [String]
  public var status: ChildProcess.ExitStatus
  public var standardOutput: [UInt8]
  public var standardError: [UInt8]

  public var isSuccess: Bool { status.isSuccess }
  /// Standard output as text, invalid UTF-8 repaired.
  public var output: String { String(decoding: standardOutput, as: UTF8.self) }
  /// Standard error as text, invalid UTF-8 repaired.
  public var errorOutput: String { String(decoding: standardError, as: UTF8.self) }

  /// Throws with the command's own words unless it ended with status 0.
  @discardableResult
  public func checked() throws(LabError) -> CommandResult {
    if isSuccess { return self }
    throw LabError("`\(arguments.joined(separator: " "))` ended with \(status): \(errorOutput) \(output)")
  }
}

/// Runs programs to their end and collects what they write.
public enum Command {
  /// Runs `arguments` in the network namespace of the calling thread.
  ///
  /// Output goes through files, not pipes: a program may write as much as it likes, and daemons that it leaves behind
  /// do not hold the call up.
  ///
  /// - Parameter environment: added to this process' own.
  /// - Parameter seconds: after this long the program is killed and the call throws.
  public static func run(
    _ arguments: [String], input: [UInt8] = [], environment: [String: String] = [:], directory: String? = nil,
    within seconds: Double = 60
  ) throws(LabError) -> CommandResult {
    do {
      let input = try MemoryFile(input)
      let output = try MemoryFile()
      let error = try MemoryFile()
      let child = try ChildProcess(
        arguments, environment: Environment.current(adding: environment), directory: directory,
        streams: .init(input: input.raw, output: output.raw, error: error.raw))
      let deadline = MonotonicTime.now() &+ UInt64(seconds * 1e9)
      guard let status = child.wait(until: deadline) else {
        child.signal(SIGKILL)
        _ = child.wait(until: nil)
        let text = String(decoding: try error.contents(), as: UTF8.self)
        throw LabError("`\(arguments.joined(separator: " "))` did not end within \(seconds) s; it said: \(text)")
      }
      return CommandResult(
        arguments: arguments, status: status, standardOutput: try output.contents(),
        standardError: try error.contents())
    } catch let error as SystemError {
      throw LabError("cannot run `\(arguments.joined(separator: " "))`: \(error)")
    } catch let error as LabError {
      throw error
    } catch {
      throw LabError("cannot run `\(arguments.joined(separator: " "))`: \(error)")
    }
  }
}

/// This process' environment as spawn wants it.
enum Environment {
  static func current(adding: [String: String]) -> [String] {
    var values = ProcessEnvironment.values
    for (name, value) in adding { values[name] = value }
    return values.map { "\($0.key)=\($0.value)" }
  }
}
