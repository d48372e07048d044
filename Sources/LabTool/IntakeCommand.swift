// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import Lab

/// `lab intake`
struct IntakeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "intake",
    abstract: "Measure what a new connection costs at the distributor, by --handshake and --packets, side by side.",
    discussion: "The last line of the output is one JSON array: medians per connection.")

  @Option(help: "Rounds; each measures every variant once.")
  var rounds = 5

  @Option(help: "Seconds of each measurement.")
  var seconds = 3.0

  @Option(help: ArgumentHelp("Only these, as HANDSHAKE/PACKETS; may be repeated.", valueName: "variant"))
  var variant: [String] = []

  func run() throws {
    try LabRun.requireRoot()
    try Interruption.watch()
    var comparison = IntakeComparison()
    comparison.rounds = max(1, rounds)
    comparison.seconds = seconds
    if !variant.isEmpty { comparison.chosen = comparison.chosen.filter { variant.contains($0.name) } }
    let rows = try comparison.run { Console.line($0) }
    Console.line(String(decoding: try JSONEncoder().encode(rows), as: UTF8.self))
  }
}
