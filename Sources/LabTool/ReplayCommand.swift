// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Lab
import LinuxKernel

/// `lab replay`: runs inside the clients' namespace.
struct ReplayCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay", abstract: "Replay a plan from this network namespace and check every byte.")

  @Argument(help: "JSON file with the plan.")
  var plan: String

  @Option(help: "Where to write what was seen, as JSON.")
  var report: String

  func run() throws {
    _ = try DescriptorLimit.raise()
    let plan = try ReplayPlan.load(plan)
    let client = try ReplayClient(plan)
    let total = plan.requests
    let result = client.run { seen in
      let rate = seen.seconds > 0 ? Int(Double(seen.requests) / seen.seconds) : 0
      Console.line(
        "  \(seen.requests)/\(total) requests, \(seen.failed) failed, \(seen.bytes >> 20) MB checked, \(rate)/s")
    }
    try result.write(to: report)
  }
}
