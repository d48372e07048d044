// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Runs Python on a list of lines and gives the lines that it answers: an independent opinion.
enum PythonOracle {
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  static func run(_ script: String, _ lines: [String]) throws -> [String] {
    let input = FileManager.default.temporaryDirectory.appendingPathComponent("oracle-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: input) }
    try Data(lines.map { $0 + "\n" }.joined().utf8).write(to: input)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
    process.arguments = ["-c", script]
    process.standardInput = try FileHandle(forReadingFrom: input)
    let output = Pipe()
    process.standardOutput = output
    let errors = Pipe()
    process.standardError = errors
    do {
      try process.run()
    } catch {
      throw Failure(description: "cannot run /usr/bin/python3 (\(error)): apt-get install python3 python3-scapy")
    }
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    let complaint = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw Failure(description: complaint) }
    return text.split(separator: "\n").map(String.init)
  }
}
