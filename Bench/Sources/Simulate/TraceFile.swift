// SPDX-License-Identifier: Apache-2.0

import Foundation
import Simulator

/// Reads a trace file of either format.
enum TraceFile {
  static func read(_ path: String) throws -> Workload {
    let url = URL(fileURLWithPath: path)
    let isCompressed = url.pathExtension == "xz"
    let data = isCompressed ? try decompressed(path) : try Data(contentsOf: url)
    let text = String(decoding: data, as: UTF8.self)
    let lines = text.split(separator: "\n")
    var name = url.deletingPathExtension().lastPathComponent
    if isCompressed, name.hasSuffix(".tsv") { name.removeLast(4) }
    let isAccessLog = lines.first?.contains("url") == true
    let workload =
      isAccessLog ? Workload.accessLog(name: name, lines: lines) : Workload.objectLog(name: name, lines: lines)
    guard !workload.requests.isEmpty else { throw SimulateError("\(path) holds no request in a known format") }
    return workload
  }

  private static func decompressed(_ path: String) throws -> Data {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["xz", "-dc", path]
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw SimulateError("xz -dc \(path) failed; is xz installed?") }
    return data
  }
}
