// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// A whole cluster in network namespaces on one machine.
@main
struct Main: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lab",
    abstract: "A whole cluster in network namespaces on one machine.",
    subcommands: [
      RunCommand.self, IntakeCommand.self, FloodCommand.self, SynFloodCommand.self,
      ReplayCommand.self, WireCommand.self, UpCommand.self, CleanCommand.self,
    ])
}
