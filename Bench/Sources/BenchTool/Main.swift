// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// Measures this cluster beside what people run today.
@main
struct Main: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure this cluster beside HAProxy, nginx, Varnish, Traffic Server, a layer-4 path and no balancer.",
    subcommands: [RunCommand.self, GrowthCommand.self, GeneratorCommand.self, OriginCommand.self],
    defaultSubcommand: RunCommand.self)
}
