// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Lab

/// `lab run`
struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Start a cluster, replay requests through it, check every byte and report.",
    discussion: "The last line of the output is one JSON object. The exit status is 0 when everything held.")

  @OptionGroup var shape: ShapeOptions

  @Option(help: "Connections to open.")
  var connections = 6000

  @Option(help: "Connections open at a time.")
  var concurrency = 64

  @Option(help: "Share of connections that carry several requests.")
  var keepAlive = 0.1

  @Option(help: ArgumentHelp("Replay a recorded trace instead of the generated stream.", valueName: "file"))
  var trace: String?

  mutating func validate() throws {
    guard connections > 0, concurrency > 0 else {
      throw ValidationError("--connections and --concurrency must be positive")
    }
    guard (0...1).contains(keepAlive) else { throw ValidationError("--keep-alive must be between 0 and 1") }
  }

  func run() throws {
    try LabRun.requireRoot()
    try Interruption.watch()
    let (site, stream) = try requests()
    let all = ReplayPlan.connections(of: stream, keepAliveShare: keepAlive, seed: shape.seed)
    var demonstration = Demonstration(
      plan: try shape.plan(), site: site, connections: Array(all.prefix(connections)))
    demonstration.concurrency = concurrency
    let result = try demonstration.run { Console.line($0) }
    Console.line("\n\(result.table())\n")
    for complaint in result.complaints { Console.line("NOT OK: \(complaint)") }
    Console.line(try result.json())
    if !result.complaints.isEmpty { throw ExitCode(1) }
  }

  private func requests() throws -> (Site, [Int]) {
    if let trace {
      let recorded = try Trace.load(trace, seed: shape.seed)
      return (recorded.site, recorded.requests)
    }
    let site = shape.site
    var popularity = ZipfStream(seed: shape.seed, pages: site.pages.count)
    // More than one request per connection on average; the surplus is cut off.
    return (site, (0..<connections * 5).map { _ in popularity.next() })
  }
}
