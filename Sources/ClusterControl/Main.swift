// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import LinuxKernel
import Telemetry
import Wire

@main
struct ClusterControl: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "clusterctl", abstract: "Asks the nodes of a cluster through their admin servers.",
    subcommands: [Status.self, Metrics.self, Why.self, Top.self, Calibrate.self, Doctor.self])

  /// As `cluster_startup`: 1 when something is wrong with what was asked about, 2 for wrong options.
  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch {
      let code = exitCode(for: error)
      let text = fullMessage(for: error)
      if !text.isEmpty {
        (code == .success ? StandardStream.output : .error).write(text.hasSuffix("\n") ? text : text + "\n")
      }
      Glibc.exit(code == .validationFailure ? 2 : code.rawValue)
    }
  }
}

/// `clusterctl status`: one line per role of each node.
struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows whether each node is ready; exit status 1 when one is not or does not answer.")

  @OptionGroup var nodes: Nodes

  func run() throws {
    var allReady = true
    for endpoint in nodes.endpoints {
      let (isReady, text) = nodes.ask(endpoint, "/healthz")
      allReady = allReady && isReady
      for line in text.split(separator: "\n") { StandardStream.output.write("\(endpoint)  \(line)\n") }
    }
    if !allReady { throw ExitCode.failure }
  }
}

/// `clusterctl metrics`: the samples whose names have a prefix.
struct Metrics: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Prints each node's metrics; exit status 1 when a node does not answer.")

  @Option(help: "Only metrics whose names begin so.")
  var prefix = ""

  @Flag(help: "Leave out samples that are 0.")
  var nonzero = false

  @OptionGroup var nodes: Nodes

  func run() throws {
    var allAnswered = true
    for endpoint in nodes.endpoints {
      let (isAnswered, text) = nodes.ask(endpoint, "/metrics")
      allAnswered = allAnswered && isAnswered
      for line in text.split(separator: "\n") where isWanted(line) {
        StandardStream.output.write("\(endpoint)  \(line)\n")
      }
    }
    if !allAnswered { throw ExitCode.failure }
  }

  private func isWanted(_ line: Substring) -> Bool {
    !line.hasPrefix("#") && line.hasPrefix(prefix) && !(nonzero && line.hasSuffix(" 0"))
  }
}

/// Which nodes are asked, and how long is waited for each.
struct Nodes: ParsableArguments {
  @Argument(
    help: ArgumentHelp("Admin addresses of nodes.", valueName: "address:port"),
    transform: { text in
      guard let endpoint = Endpoint(text) else {
        throw ValidationError("'\(text)' is no ADDRESS:PORT. Give one such as 127.0.0.1:7010 or [::1]:7010.")
      }
      return endpoint
    })
  var endpoints: [Endpoint] = [Endpoint(IPAddress(ipv4: 0x7f00_0001), 7010)]

  @Option(help: ArgumentHelp("Seconds to wait for each node.", valueName: "seconds"))
  var timeout = 2.0

  func validate() throws {
    guard (0.01...3600).contains(timeout) else {
      throw ValidationError("--timeout: give a number of seconds from 0.01 to 3600.")
    }
  }

  /// Whether the node answered with 200, and its text or why there is none.
  func ask(_ endpoint: Endpoint, _ path: String) -> (isGood: Bool, text: String) {
    do throws(AdminClient.Failure) {
      let deadline = MonotonicTime.now() + UInt64(timeout * 1e9)
      let answer = try AdminClient.get(path, from: endpoint, deadline: deadline)
      return (answer.status == 200, answer.body)
    } catch {
      let reason =
        switch error {
        case .system(let error): "\(error)"
        case .timeout: "no answer in \(timeout) s"
        case .malformed: "the answer is no HTTP: is this an admin server?"
        }
      return (false, "unreachable: \(reason)")
    }
  }
}
