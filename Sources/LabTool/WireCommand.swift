// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Lab

/// `lab wire`: runs inside the wire's namespace.
struct WireCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "wire", abstract: "Forward frames between two interfaces and impair TCP segments.")

  @Option(help: "Interface towards the clients.")
  var inside: String

  @Option(help: "Interface towards the bridge.")
  var outside: String

  @Option(help: "JSON file that says what happens to segments.")
  var impairment: String

  func run() throws {
    try FrameWire(inside: inside, outside: outside, impairment: try Impairment.load(impairment)).run()
  }
}
