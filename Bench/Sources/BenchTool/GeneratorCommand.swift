// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Benchmark
import Lab

/// `bench generator`
struct GeneratorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generator", abstract: "The load generator beside wrk against one nginx: its own CPU for each request."
  )

  @Option(help: "Rounds; the two take turns in beginning.")
  var rounds = 5

  @Option(help: "Seconds of each measurement, whole ones.")
  var seconds = 2

  mutating func validate() throws {
    guard rounds > 0, seconds > 0 else { throw ValidationError("--rounds and --seconds must be positive") }
  }

  func run() throws {
    try LabRun.requireRoot()
    try Interruption.watch()
    Console.line(try GeneratorComparison(rounds: rounds, seconds: seconds).run { Console.line($0) })
  }
}
