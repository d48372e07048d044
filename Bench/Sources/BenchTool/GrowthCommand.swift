// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Benchmark
import FoundationEssentials
import Lab
import LinuxKernel

/// `bench growth`
struct GrowthCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "growth",
    abstract: "Connections per second with 1 to 16 server nodes of equal small capacity, and a model to 64.")

  @Option(help: "Numbers of server nodes.")
  var nodes: [Int] = [1, 2, 4, 8, 16]

  @Option(help: "Share of one processor that each node has.")
  var capacity = 0.04

  @Option(help: "Seconds of each measurement.")
  var seconds = 4.0

  @Option(help: ArgumentHelp("Options for every cluster_startup, as --option,value.", valueName: "options"))
  var startup: String?

  @Option(help: ArgumentHelp("Report once more from an earlier growth.json.", valueName: "file"))
  var again: String?

  @Option(help: "Folder for the report.")
  var output = ".build/bench"

  mutating func validate() throws {
    guard !nodes.isEmpty, nodes.allSatisfy({ (1...100).contains($0) }), capacity > 0, seconds > 0 else {
      throw ValidationError("--nodes are 1 to 100, --capacity and --seconds positive")
    }
  }

  func run() throws {
    if let again {
      let decoder = JSONDecoder()
      decoder.keyDecodingStrategy = .convertFromSnakeCase
      let earlier = try decoder.decode(Growth.Measured.self, from: Data(try FileAccess.read(again)))
      try GrowthReport(Growth.fit(earlier.points, capacity: earlier.capacity)).write(to: output)
      return
    }
    try LabRun.requireRoot()
    try Interruption.watch()
    var growth = Growth()
    growth.nodes = nodes.sorted()
    growth.capacity = capacity
    growth.seconds = seconds
    growth.options = startup?.split(separator: ",").map(String.init) ?? []
    try GrowthReport(try growth.run { Console.line($0) }).write(to: output)
    Console.line("report: \(output)/growth.md")
  }
}
