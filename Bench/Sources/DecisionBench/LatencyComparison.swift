// SPDX-License-Identifier: Apache-2.0

import Foundation
import Telemetry

/// Rounds with the dispatcher and rounds with a server that only echoes, in turn under the same load: what both have is the
/// machine's, what only the first has is the dispatcher's.
struct LatencyComparison {
  /// In the order of their p99.
  let dispatcher: [LatencyRound]
  let echo: [LatencyRound]
  /// The p99 of each round less that of the echo's round beside it, in microseconds, and their ratio; both ascending.
  let differences: [Double]
  let ratios: [Double]
  /// From the wake-up that brought questions to the write of their answers, a batch at a time, of all rounds.
  let held: LatencyHistogram

  init(
    _ wire: WireBench, _ echo: WireBench, rounds: Int, _ title: String, reportEvery: UInt64
  ) throws {
    func measure(_ server: WireBench, _ name: String) throws -> LatencyRound {
      let round = try server.latency(rate: 100_000, total: 30_000, reportEvery: reportEvery)
      // The kernel lets real-time threads run for 95 % of a second at most; and the dispatcher publishes its counts.
      usleep(250_000)
      wire.showLife()
      print(
        "latency at 100,000/s, \(title), \(name): median \(Main.format(round.median)) us, p99 "
          + "\(Main.format(round.p99)) us, p99.9 \(Main.format(round.p999)) us; the generator itself paused for up to "
          + "\(Main.format(round.generatorPause)) us")
      return round
    }
    let before = wire.held
    var pairs: [(LatencyRound, LatencyRound)] = []
    for round in 0..<rounds {
      if round % 2 == 0 {
        let first = try measure(wire, "dispatcher")
        pairs.append((first, try measure(echo, "echo")))
      } else {
        let first = try measure(echo, "echo")
        pairs.append((try measure(wire, "dispatcher"), first))
      }
    }
    held = wire.held.since(before)
    dispatcher = pairs.map(\.0).sorted { $0.p99 < $1.p99 }
    self.echo = pairs.map(\.1).sorted { $0.p99 < $1.p99 }
    differences = pairs.map { $0.p99 - $1.p99 }.sorted()
    ratios = pairs.map { $0.p99 / $1.p99 }.sorted()
    print(
      "  p99, median of the rounds: dispatcher \(Main.format(self.dispatcher[rounds / 2].p99)) us, echo "
        + "\(Main.format(self.echo[rounds / 2].p99)) us; difference within rounds \(Main.format(differences[rounds / 2])) us "
        + "(\(Main.format(differences[0])) to \(Main.format(differences[rounds - 1]))). The dispatcher held questions for "
        + "\(heldMicroseconds(0.5)) us (median), \(heldMicroseconds(0.99)) us (p99)")
  }

  private func heldMicroseconds(_ quantile: Double) -> String {
    Main.format(Double(held.estimate(quantile: quantile)) / 1000)
  }

  /// For the last line.
  var fields: [(String, String)] {
    let middle = dispatcher.count / 2
    return [
      ("p99_us_at_100k", Main.format(dispatcher[0].p99)),
      ("p99_us_at_100k_median_round", Main.format(dispatcher[middle].p99)),
      ("p99_us_at_100k_worst_round", Main.format(dispatcher[dispatcher.count - 1].p99)),
      ("median_us_at_100k", Main.format(dispatcher[0].median)),
      ("p99_us_at_100k_echo", Main.format(echo[0].p99)),
      ("p99_us_at_100k_echo_median_round", Main.format(echo[middle].p99)),
      ("median_us_at_100k_echo", Main.format(echo[0].median)),
      ("p99_us_more_than_echo", Main.format(differences[middle])),
      ("p99_ratio_to_echo", String(format: "%.2f", ratios[middle])),
      ("p50_us_held", heldMicroseconds(0.5)), ("p99_us_held", heldMicroseconds(0.99)),
    ]
  }
}
