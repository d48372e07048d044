// SPDX-License-Identifier: Apache-2.0

import DispatcherCore
import Foundation

/// `bench-decisions [--targets N] [--nodes N] [--rounds N] [--instructions N]`: decisions per second in process and over the
/// wire, latency at 100,000 per second, memory per target. Several short rounds: the best tells what the code can do, the
/// spread what the machine did meanwhile. The last line is one JSON object.
///
/// `--latency` measures the latency alone; its last line is one JSON object as well.
///
/// `bench-decisions --count POLICY N` decides N requests and nothing else, for counting instructions.
@main
struct Main {
  static func main() throws {
    let arguments = CommandLine.arguments
    func option(_ name: String, _ fallback: Int) -> Int {
      guard let index = arguments.firstIndex(of: name), index + 1 < arguments.count else { return fallback }
      return Int(arguments[index + 1]) ?? fallback
    }
    if let index = arguments.firstIndex(of: "--count"), index + 2 < arguments.count,
      let policy = PolicyName(rawValue: arguments[index + 1]), let count = Int(arguments[index + 2])
    {
      var zipf = ZipfTargets(targets: 20_000, exponent: 0.9, seed: 1)
      let stream = (0..<50_000).map { _ in zipf.nextTarget() }
      _ = PolicyBench.measure(policy, stream, targets: 20_000, nodes: 16, warmUp: 50_000, requests: count)
      return
    }
    let targets = option("--targets", 1_000_000)
    let nodes = option("--nodes", 16)
    let rounds = max(1, option("--rounds", 5))
    var zipf = ZipfTargets(targets: targets, exponent: 0.9, seed: 1)
    let stream = (0..<4_000_000).map { _ in zipf.nextTarget() }

    print("\(nodes) nodes, \(targets) targets with Zipf 0.9, \(Machine.processors) processors")
    if arguments.contains("--latency") {
      let echo = try WireBench(echoingFor: nodes, stream: stream)
      _ = try echo.throughput(batch: 4096, total: 1_000_000)
      let wire = try WireBench(nodes: nodes, stream: stream, targets: targets)
      _ = try wire.throughput(batch: 4096, total: 1_000_000)
      let isFirst = Machine.setRealTime(true)
      let compared = try LatencyComparison(
        wire, echo, rounds: rounds, isFirst ? "real-time scheduling" : "ordinary scheduling", reportEvery: 10_000_000)
      print(json(compared.fields + [("load_average", String(format: "%.2f", Machine.loadAverage))]))
      return
    }
    for name in PolicyName.allCases where name != .lard {
      let rate = PolicyBench.measure(
        name, stream, targets: targets, nodes: nodes, warmUp: stream.count, requests: 4_000_000
      ).perSecond
      print("in process, \(name.rawValue): \(Int(rate)) decisions/s of processor time")
    }
    var lard: [Double] = []
    for _ in 0..<rounds {
      lard.append(
        PolicyBench.measure(
          .lard, stream, targets: targets, nodes: nodes, warmUp: stream.count, requests: 4_000_000
        ).perSecond)
    }
    let policyNanoseconds = 1e9 / (lard.max() ?? 1)
    print("in process, lard: \(spread(lard)) decisions/s of processor time, \(format(policyNanoseconds)) ns each")
    let codec = PolicyBench.codecNanoseconds(batch: 4096, rounds: 500)
    print("codec alone: \(format(codec)) ns for reading a request and writing a decision")

    let echo = try WireBench(echoingFor: nodes, stream: stream)
    _ = try echo.throughput(batch: 4096, total: 1_000_000)
    let wire = try WireBench(nodes: nodes, stream: stream, targets: targets)
    _ = try wire.throughput(batch: 4096, total: 1_000_000)
    var perSecond: [Double] = []
    var perProcessorSecond: [Double] = []
    for _ in 0..<rounds {
      let throughput = try wire.throughput(batch: 4096, total: 2_000_000)
      perSecond.append(throughput.perSecond)
      perProcessorSecond.append(throughput.perProcessorSecond)
    }
    let wireNanoseconds = 1e9 / (perProcessorSecond.max() ?? 1)
    print("wire: \(spread(perSecond)) decisions/s in batches of 4096, wall clock, one connection")
    print(
      "wire: \(spread(perProcessorSecond)) decisions per second of the dispatcher's processor time, "
        + "\(format(wireNanoseconds)) ns each: \(format(policyNanoseconds)) policy, \(format(codec)) codec, "
        + "\(format(max(0, wireNanoseconds - policyNanoseconds - codec))) sockets, loop and reports")

    // First as any process, then before all others: the difference is what else runs on the machine.
    let ordinary = try LatencyComparison(
      wire, echo, rounds: rounds, "ordinary scheduling", reportEvery: 10_000_000)
    var latency = ordinary
    var oftenReported = ordinary
    var scheduling = "ordinary"
    if Machine.setRealTime(true) {
      scheduling = "fifo"
      latency = try LatencyComparison(wire, echo, rounds: 2 * rounds, "real-time scheduling", reportEvery: 10_000_000)
      oftenReported = try LatencyComparison(
        wire, echo, rounds: rounds, "real-time scheduling, reports every ms", reportEvery: 1_000_000)
      _ = Machine.setRealTime(false)
    }
    let bytes = PolicyBench.bytesPerTarget(10_000_000)
    var fields: [(String, String)] = [
      ("decisions_per_second_in_process", "\(Int(lard.max() ?? 0))"),
      ("decisions_per_second_in_process_worst_round", "\(Int(lard.min() ?? 0))"),
      ("decisions_per_second_wire", "\(Int(perSecond.max() ?? 0))"),
      ("decisions_per_second_wire_worst_round", "\(Int(perSecond.min() ?? 0))"),
      ("p99_us_at_100k_ordinary_scheduling", format(ordinary.dispatcher[0].p99)),
      ("p99_us_at_100k_reports_every_ms", format(oftenReported.dispatcher[0].p99)),
      ("latency_scheduling", "\"\(scheduling)\""), ("bytes_per_target", String(format: "%.2f", bytes)),
      ("policy_ns", format(policyNanoseconds)), ("codec_ns", format(codec)),
      ("wire_ns_with_policy", format(wireNanoseconds)), ("instructions_per_decision", "\(option("--instructions", 0))"),
      ("load_average", String(format: "%.2f", Machine.loadAverage)),
    ]
    fields += latency.fields
    print(json(fields))
  }

  static func json(_ fields: [(String, String)]) -> String {
    "{" + fields.map { "\"\($0)\": \($1)" }.joined(separator: ", ") + "}"
  }

  static func format(_ value: Double) -> String { String(format: "%.1f", value) }

  static func spread(_ values: [Double]) -> String {
    "\(Int(values.max() ?? 0)) (worst of \(values.count) rounds \(Int(values.min() ?? 0)))"
  }
}
