// SPDX-License-Identifier: Apache-2.0

import AdminReports
import ArgumentParser
import Foundation
import LinuxKernel
import Telemetry
import Wire

/// How the dispatcher is asked.
struct DispatcherQuery: ParsableArguments {
  @Option(
    name: [.customLong("dispatcher"), .customLong("admin")],
    help: ArgumentHelp("Admin address of the dispatcher's node.", valueName: "address:port"),
    transform: { text in
      guard let endpoint = Endpoint(text) else {
        throw ValidationError("'\(text)' is no ADDRESS:PORT. Give one such as 127.0.0.1:7010 or [::1]:7010.")
      }
      return endpoint
    })
  var dispatcher = Endpoint(IPAddress(ipv4: 0x7f00_0001), 7010)

  @Option(help: ArgumentHelp("Seconds to wait for the answer.", valueName: "seconds"))
  var timeout = 2.0

  func validate() throws {
    guard (0.01...3600).contains(timeout) else {
      throw ValidationError("--timeout: give a number of seconds from 0.01 to 3600.")
    }
  }

  /// The report, as a value and as the text that came; any other answer is told and ends the program with status 1.
  func ask<Report: AdminReport>(_ query: [(String, String)], as: Report.Type) throws -> (report: Report, text: String) {
    let path = Report.path + "?" + query.map { "\($0)=\(DispatcherQuery.escape($1))" }.joined(separator: "&")
    do {
      let answer = try AdminClient.get(path, from: dispatcher, deadline: MonotonicTime.now() + UInt64(timeout * 1e9))
      switch answer.status {
      case 200: return (try Report(json: Data(answer.body.utf8)), answer.body)
      case 404: throw Problem("\(dispatcher): this node runs no dispatcher; give the one that does with --dispatcher")
      default: throw Problem("\(dispatcher): \(answer.body.trimmingCharacters(in: .newlines))")
      }
    } catch let error as AdminClient.Failure {
      switch error {
      case .system(let error): throw Problem("\(dispatcher): unreachable: \(error)")
      case .timeout: throw Problem("\(dispatcher): no answer in \(timeout) s")
      case .malformed: throw Problem("\(dispatcher): the answer is no HTTP: is this an admin server?")
      }
    } catch let error as DecodingError {
      throw Problem("\(dispatcher): the answer is not understood, the releases differ (\(error))")
    }
  }

  struct Problem: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
  }

  /// Percent-encodes all but unreserved bytes (RFC 3986 section 2.3).
  static func escape(_ text: String) -> String {
    var result = ""
    for byte in text.utf8 {
      let isUnreserved =
        (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
        || "-._~".utf8.contains(byte)
      if isUnreserved {
        result.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        let digits = String(byte, radix: 16, uppercase: true)
        result += "%" + (digits.count == 1 ? "0" : "") + digits
      }
    }
    return result
  }
}

/// Columns of text.
struct TextTable {
  private var rows: [[String]]
  /// Columns that are numbers stand to the right.
  private let numbers: Set<Int>

  init(_ titles: [String], numbers: Set<Int>) {
    rows = [titles]
    self.numbers = numbers
  }

  mutating func add(_ row: [String]) { rows.append(row) }

  var text: String {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      var line = ""
      for (column, cell) in row.enumerated() {
        let padding = String(repeating: " ", count: widths[column] - cell.count)
        line += (column == 0 ? "" : "  ") + (numbers.contains(column) ? padding + cell : cell + padding)
      }
      while line.hasSuffix(" ") { line.removeLast() }
      return line + "\n"
    }.joined()
  }
}

extension NodeReport {
  var loadText: String { String(format: "%.1f", load) }
  var maximumText: String { maximumConnections >= UInt64(UInt32.max) ? "-" : "\(maximumConnections)" }
}
