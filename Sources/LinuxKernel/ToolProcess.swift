// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc

/// Runs a system tool to its end. Only at start and stop of a role, never on a data path.
public enum ToolProcess {
  public struct Result: Sendable, Hashable {
    public var status: Int32
    /// Standard output and standard error together.
    public var output: String
  }

  /// - Parameters:
  ///   - name: looked up in the system folders.
  ///   - input: given to the tool as its standard input; less than a pipe holds (64 KB).
  /// - Throws: ENOENT when there is no such tool.
  public static func run(_ name: String, _ arguments: [String], input: String = "") throws(SystemError) -> Result {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    guard let path = folders.map({ "\($0)/\(name)" }).first(where: FileManager.default.isExecutableFile) else {
      throw SystemError("run", name, errno: ENOENT)
    }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.environment = ["PATH": folders.joined(separator: ":"), "LC_ALL": "C"]
    let (inputPipe, outputPipe) = (Pipe(), Pipe())
    process.standardInput = inputPipe
    process.standardOutput = outputPipe
    process.standardError = outputPipe
    do {
      try process.run()
      try inputPipe.fileHandleForWriting.write(contentsOf: Data(input.utf8))
      try inputPipe.fileHandleForWriting.close()
      let output = try outputPipe.fileHandleForReading.readToEnd() ?? Data()
      process.waitUntilExit()
      return Result(status: process.terminationStatus, output: String(decoding: output, as: UTF8.self))
    } catch {
      throw SystemError("run", name, errno: ECHILD)
    }
  }
}
