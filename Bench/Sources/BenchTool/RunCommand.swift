// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Benchmark
import Lab
import LinuxKernel

/// `bench run`
struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Every workload on every system, side by side, with a report.",
    discussion: "The last line of the output is one JSON object: workload, system, ratios to no balancer and errors.")

  @Flag(
    help:
      "One short round without churn; few idle connections and one cache workload with few systems: under three minutes."
  )
  var quick = false

  @Option(help: "Rounds; each measures every workload on every system once (default: 5, with --quick 1).")
  var rounds: Int?

  @Option(help: "Seconds of each measurement (default: 2, with --quick 1).")
  var seconds: Double?

  @Option(help: "Workloads by name, nothing else then; all when none is named. idle-50000: so many idle connections.")
  var workload: [String] = []

  @Option(help: "Systems by name, besides direct; all when none is named.")
  var system: [String] = []

  @Option(
    help: ArgumentHelp(
      "This cluster once more, with other options of cluster_startup.", valueName: "NAME=--option,value"))
  var mode: [String] = []

  @Option(help: "Server nodes.")
  var servers = 4

  @Option(help: "Balancers side by side.")
  var fronts = 2

  @Option(help: "Connections held idle, 0 for none (default: 50000, with --quick 2000).")
  var idle: Int?

  @Option(help: "Seconds under load while a web server ends and comes back, 0 for none (default: 6, with --quick 0).")
  var churn: Double?

  @Option(help: ArgumentHelp("A recorded trace for the cache workload.", valueName: "file"))
  var trace: String?

  @Option(help: "Folder for the report.")
  var output = ".build/bench"

  func run() throws {
    try LabRun.requireRoot()
    try Interruption.watch()
    let bench = try plan()
    let result = try bench.run { Console.line($0) }
    try BenchReport(result).write(to: output)
    for complaint in result.complaints { Console.line("NOT CLEAN: \(complaint)") }
    Console.line("report: \(output)/report.html, report.md, report.json")
    Console.line(try result.line())
    if result.ownErrors > 0 { throw ExitCode(1) }
  }

  private func plan() throws -> Bench {
    var bench = Bench()
    bench.rounds = rounds ?? (quick ? 1 : 5)
    bench.seconds = seconds ?? (quick ? 1 : 2)
    bench.servers = servers
    bench.fronts = fronts
    // Who names workloads wants nothing else.
    bench.idleConnections = idle ?? (!workload.isEmpty ? 0 : quick ? 2000 : 50_000)
    bench.churnSeconds = churn ?? (quick || !workload.isEmpty ? 0 : 6)
    bench.trace = trace
    guard bench.idleConnections >= 0, bench.idleConnections <= 1_000_000 else {
      throw ValidationError("--idle is 0 to 1000000")
    }
    guard bench.rounds > 0, bench.seconds > 0, (1...100).contains(servers), (1...100).contains(fronts) else {
      throw ValidationError("--rounds and --seconds must be positive, --servers and --fronts 1 to 100")
    }
    let modes = try mode.map { text in
      guard let system = BenchSystem.mode(text) else {
        throw ValidationError("--mode is NAME=--option,value: '\(text)'")
      }
      return system
    }
    if !system.isEmpty {
      let names = BenchSystem.all.map(\.name)
      for name in system where !names.contains(name) {
        throw ValidationError("there is no system \(name); there are \(names.joined(separator: ", "))")
      }
      bench.systems = BenchSystem.all.filter { $0.name == "direct" || system.contains($0.name) }
    }
    if quick {
      if system.isEmpty {
        bench.systems.removeAll { $0.kind == .cluster && !$0.options.isEmpty }
        bench.aloneSystems = ["direct", "haproxy", "handoff"]
      }
      bench.withoutOffloads = []
      bench.cacheWorkloads = bench.cacheWorkloads.filter { $0.name == "cache-hot" }
      bench.cachePolicies = ["wrr"]
    }
    bench.systems += modes
    if !workload.isEmpty {
      let names = Workload.all.map(\.name) + CacheWorkload.all.map(\.name)
      for name in workload where !names.contains(name) {
        guard let count = Bench.idleConnections(of: name) else {
          throw ValidationError(
            "there is no workload \(name); there are \(names.joined(separator: ", ")) and idle-NUMBER")
        }
        bench.idleConnections = count
      }
      bench.workloads = Workload.all.filter { workload.contains($0.name) }
      bench.cacheWorkloads = CacheWorkload.all.filter { workload.contains($0.name) }
    }
    return bench
  }
}

/// `bench origin`: runs inside a node's namespace.
struct OriginCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "origin", abstract: "An HTTP server over a store like one disk.", shouldDisplay: false)

  @Option var port: UInt16
  @Option var root: String
  @Option var seek: Double
  @Option var rate: Double

  func run() throws {
    _ = try DescriptorLimit.raise()
    var origin = try Origin(port: port, root: root, seekMilliseconds: seek, megabytesPerSecond: rate)
    try origin.run()
  }
}
