// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import Glibc
import Lab
import LinuxKernel
import Load
import Wire

/// Generates HTTP load and measures what comes back.
@main
struct Main: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "load",
    abstract: "Generate HTTP/1.1 load and measure latency without coordinated omission.",
    discussion: "The last line of the output is one JSON object. The exit status is 0 when no request failed.")

  @Argument(help: "Where to connect, in turn: ADDRESS:PORT.")
  var endpoint: [String]

  @Option(help: "Path to ask for; may be repeated.")
  var path: [String] = []

  @Option(help: ArgumentHelp("File with one path and, for --verify, its size on each line.", valueName: "file"))
  var paths: String?

  @Option(help: "Which path is next: cycle, uniform, zipf, or sequence.")
  var choose = "cycle"

  @Option(help: "Exponent of zipf; the first path is the most popular one.")
  var exponent = 0.9

  @Option(help: ArgumentHelp("For sequence: file with one number of a path (from 0) on each line.", valueName: "file"))
  var sequence: String?

  @Option(help: "Share of requests that go to the first path.")
  var hot = 0.0

  @Option(help: "Threads.")
  var threads = 1

  @Option(help: "Connections open at a time, over all threads.")
  var connections = 32

  @Flag(help: "Keep connections alive; otherwise every request has its own.")
  var keepAlive = false

  @Option(help: "Requests sent at once on a kept-alive connection.")
  var pipeline = 1

  @Option(help: "Open loop: requests per second, as a Poisson process.")
  var rate: Double?

  @Flag(help: "Open all connections, ask once on each, and hold them open for --seconds or until SIGTERM.")
  var hold = false

  @Option(help: "Seconds that opening the connections of --hold may take.")
  var openWithin = 60.0

  @Option(help: "Address to connect from; may be repeated, used in turn.")
  var source: [String] = []

  @Flag(help: "Each endpoint is dialled from one of the sources only.")
  var pairSources = false

  @Option(help: "Seconds to run.")
  var seconds = 10.0

  @Option(help: "End after so many requests.")
  var requests: Int?

  @Option(help: "Seconds for a connection to stand, and for an answer to be complete.")
  var timeout = 10.0

  @Option(help: ArgumentHelp("Compare every byte with the site of this seed.", valueName: "seed"))
  var verify: UInt64?

  @Option(help: "Seed of arrivals and choices.")
  var seed: UInt64 = 1

  @Option(help: ArgumentHelp("Write the whole report with its histograms there, as JSON.", valueName: "file"))
  var report: String?

  func run() throws {
    _ = try DescriptorLimit.raise()
    let plan = try plan()
    if let complaint = plan.complaint { throw ValidationError(complaint) }
    let stop = LoadStop()
    if hold { try Main.watch(stop) }
    let result = try LoadGenerator.run(plan, stop: stop) {
      print("holding")
      _ = fflush(nil)
    }
    if let report {
      try FileAccess.write(Array(try JSONEncoder().encode(result)), to: report)
    }
    print(LoadSummary.text(result))
    print(try LoadSummary(result).json())
    if result.failed > 0 { throw ExitCode(1) }
  }

  /// SIGTERM and SIGINT end the time of holding; the report is written as at any end.
  private static func watch(_ stop: LoadStop) throws {
    let signals = try SignalBox()
    _ = WorkerThread(name: "signals") {
      guard var epoll = try? Epoll(capacity: 1), (try? epoll.add(signals.queue.raw, .read, token: 0)) != nil else {
        return
      }
      while signals.queue.next() == nil { _ = epoll.wait(until: nil) }
      stop.stop()
    }
  }

  private final class SignalBox: Sendable {
    let queue: SignalQueue
    init() throws { queue = try SignalQueue([.interrupt, .terminate]) }
  }

  private func plan() throws -> LoadPlan {
    let endpoints = try endpoint.map { text in
      guard let parsed = Endpoint(text) else { throw ValidationError("'\(text)' is no address:port") }
      return parsed
    }
    var plan = LoadPlan(endpoints: endpoints, paths: try allPaths())
    plan.sources = try source.map { text in
      guard let address = IPAddress(text) else { throw ValidationError("'\(text)' is no address") }
      return address
    }
    plan.pairsSources = pairSources
    plan.choice = try choice()
    plan.hotShare = hot
    plan.threads = threads
    plan.connections = connections
    plan.isKeptAlive = keepAlive || hold
    plan.pipeline = pipeline
    plan.pace = hold ? .hold : rate.map { .open(rate: $0) } ?? .closed
    plan.seconds = seconds
    plan.requests = requests
    plan.timeout = timeout
    plan.openWithin = openWithin
    plan.verifiedSeed = verify
    plan.seed = seed
    return plan
  }

  private func choice() throws -> LoadPlan.Choice {
    switch choose {
    case "cycle": return .cycle
    case "uniform": return .uniform
    case "zipf": return .zipf(exponent: exponent)
    case "sequence":
      guard let sequence else { throw ValidationError("--choose sequence needs --sequence FILE") }
      let text = String(decoding: try FileAccess.read(sequence), as: UTF8.self)
      return .sequence(
        try text.split(separator: "\n").map { line in
          guard let number = Int32(line) else { throw ValidationError("\(sequence): '\(line)' is no number") }
          return number
        })
    default: throw ValidationError("--choose is cycle, uniform, zipf or sequence")
    }
  }

  private func allPaths() throws -> [LoadPlan.Path] {
    var all = path.map { LoadPlan.Path(path: $0) }
    guard let paths else { return all.isEmpty ? [LoadPlan.Path(path: "/")] : all }
    for line in String(decoding: try FileAccess.read(paths), as: UTF8.self).split(separator: "\n") {
      let fields = line.split(separator: " ")
      all.append(LoadPlan.Path(path: String(fields[0]), size: fields.count > 1 ? Int(fields[1]) ?? 0 : 0))
    }
    return all
  }
}

extension Endpoint {
  /// `1.2.3.4:80` or `[fd77::1]:80`.
  fileprivate init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { return nil }
    var host = text[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
    guard let address = IPAddress(String(host)) else { return nil }
    self.init(address, port)
  }
}
