// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `cluster_startup`: parsing and help. What it does is in `Main`.
struct StartupCommand: ParsableCommand {
  static let version = "0.1.0"

  static let configuration = CommandConfiguration(
    commandName: "cluster_startup",
    abstract: "Runs one node of a content-aware TCP handoff cluster: any combination of dispatcher (-D), "
      + "distributor (-FE) and server node (-BE).",
    usage: """
      cluster_startup -D [options]
      cluster_startup -FE -fp PORT -da HOST [options]
      cluster_startup -BE -bp PORT -da HOST [options]
      cluster_startup -FE -fp PORT -BE -bp PORT -da HOST [options]
      """,
    discussion: """
      Nodes may start in any order and wait for each other. SIGTERM and SIGINT drain and end the node, a second \
      one ends it at once; SIGHUP reads the log level and the rules again. Exit status: 0 after a clean end, 1 when the node could \
      not start or end, 2 for wrong options or a wrong configuration file.
      """,
    version: "cluster_startup \(version)")

  @OptionGroup var options: StartupOptions
}
