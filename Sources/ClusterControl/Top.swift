// SPDX-License-Identifier: Apache-2.0

import AdminReports
import ArgumentParser
import ControlProtocol
import Foundation
import LinuxKernel
import Wire

/// `clusterctl top`: hottest targets, replica sets and loads, again and again.
struct Top: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows loads, hottest targets and their nodes, live.",
    discussion: """
      The dispatcher knows targets by their hashes. With --urls FILE, which has one path with query in each line, hashes of \
      these are shown as paths.
      """)

  @Option(help: ArgumentHelp("Targets to show, 0 to 1000.", valueName: "n"))
  var targets = 10

  @Option(help: ArgumentHelp("Seconds between two looks.", valueName: "seconds"))
  var interval = 1.0

  @Option(help: ArgumentHelp("File of paths whose hashes are to be recognised.", valueName: "file"))
  var urls: String?

  @Flag(help: "Show it once and end.")
  var once = false

  @Flag(help: "Print the dispatcher's answer as one JSON object per look.")
  var json = false

  @OptionGroup var query: DispatcherQuery

  func validate() throws {
    guard (0...1000).contains(targets) else { throw ValidationError("--targets: give a number from 0 to 1000.") }
    guard (0.1...3600).contains(interval) else {
      throw ValidationError("--interval: give a number of seconds from 0.1 to 3600.")
    }
  }

  func run() throws {
    let names = try urls.map { try Top.names(in: $0) } ?? [:]
    var pause = try Epoll(capacity: 1)
    var last: (requests: UInt64, at: UInt64)?
    while true {
      let (report, text) = try query.ask([("targets", "\(targets)")], as: TopReport.self)
      let now = MonotonicTime.now()
      if json {
        StandardStream.output.write(text)
      } else {
        let rate = last.map { Double(report.requests &- $0.requests) / (Double(now - $0.at) / 1e9) }
        // Home and clear: the picture stays in place.
        StandardStream.output.write((once ? "" : "\u{1b}[H\u{1b}[2J") + Top.text(report, names, rate: rate))
      }
      if once { return }
      last = (report.requests, now)
      let next = now + UInt64(interval * 1e9)
      while MonotonicTime.now() < next { _ = pause.wait(until: next) }
    }
  }

  /// Hash to path, for the lines of a file.
  static func names(in path: String) throws -> [String: String] {
    let text: String
    do {
      text = try SystemFile.text(of: path)
    } catch {
      throw DispatcherQuery.Problem("--urls: '\(path)' cannot be read (\(error))")
    }
    var names: [String: String] = [:]
    for line in text.split(whereSeparator: \.isNewline) {
      let target = Why.parts(of: String(line))?.target ?? String(line)
      names[String(format: "%016lx", TargetHash.key.hash(Array(target.utf8).span))] = target
    }
    return names
  }

  static func text(_ report: TopReport, _ names: [String: String], rate: Double?) -> String {
    let limit = report.admissionLimit.map { "\($0)" } ?? "none"
    let rateText = rate.map { String(format: ", %.0f/s", $0) } ?? ""
    var text =
      "policy \(report.policy)   requests \(report.requests)\(rateText)   connections \(report.connections), limit \(limit), "
      + "waiting \(report.queued)\ntargets \(report.targets) of \(report.targetCapacity)   ties \(report.ties)\n"
    let decisions = report.decisions.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
    if !decisions.isEmpty {
      text += "decisions " + decisions.map { "\($0.key) \($0.value)" }.joined(separator: ", ") + "\n"
    }
    var nodes = TextTable(
      ["NODE", "STATE", "CONNECTIONS", "MAXIMUM", "WEIGHT", "LOAD", "POOLS"], numbers: [2, 3, 4, 5])
    for node in report.nodes {
      nodes.add([
        node.name, node.state, "\(node.connections)", node.maximumText, "\(node.weight)", node.loadText,
        node.pools.joined(separator: ","),
      ])
    }
    var hottest = TextTable(["TARGET", "USES", "NODES"], numbers: [1])
    for target in report.hottest {
      hottest.add([names[target.hash] ?? target.hash, "\(target.uses)", target.replicas.joined(separator: ",")])
    }
    return text + "\n" + nodes.text + (report.hottest.isEmpty ? "" : "\n" + hottest.text)
  }
}
