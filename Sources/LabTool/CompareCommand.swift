// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Lab

/// `lab compare`
struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Measure this cluster, HAProxy and no balancer side by side, four nginx nodes each, by wrk.",
    discussion: "The last line of the output is one JSON object: workload, system, figures.")

  @Option(help: "Rounds; each measures every workload on every system once.")
  var rounds = 5

  @Option(help: "Seconds of each measurement.")
  var seconds = 3.0

  @Option(help: "Workloads by name; all when none is named.")
  var workload: [String] = []

  @Option(help: "The dispatcher's policy.")
  var policy = "lard"

  mutating func validate() throws {
    guard rounds > 0, seconds >= 1 else { throw ValidationError("--rounds must be positive, --seconds at least 1") }
    for name in workload where !Comparison.workloads.contains(where: { $0.name == name }) {
      let names = Comparison.workloads.map(\.name).joined(separator: ", ")
      throw ValidationError("there is no workload \(name); there are \(names)")
    }
  }

  func run() throws {
    try LabRun.requireRoot()
    try Interruption.watch()
    var comparison = Comparison()
    comparison.rounds = rounds
    comparison.seconds = seconds
    comparison.policy = policy
    if !workload.isEmpty { comparison.chosen = Comparison.workloads.filter { workload.contains($0.name) } }
    let result = try comparison.run { Console.line($0) }
    Console.line("\n\(result.table())\n")
    Console.line(try result.json())
    if result.hasErrors { throw ExitCode(1) }
  }
}
