// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import LinuxKernel

/// Latency of one round, in microseconds from a request's scheduled arrival to its decision.
struct LatencyRound {
  var median: Double
  var p99: Double
  var p999: Double
  /// The longest time in which the generator itself was not running: what it could not have been faster than.
  var generatorPause: Double
}

extension WireBench {
  /// Requests that arrive at a fixed rate whatever becomes of earlier ones: latency counts from the scheduled arrival, so
  /// that a dispatcher that stalls is charged for everybody who came meanwhile (no coordinated omission). Batched as a
  /// distributor does, only while a batch is unanswered.
  ///
  /// - Parameter reportEvery: nanoseconds between two reports of one node. Agents report every millisecond at most; here all
  ///   nodes share the generator's thread, which a report keeps from sending for about ten microseconds.
  func latency(rate: Int, total: Int, reportEvery: UInt64) throws -> LatencyRound {
    let period = UInt64(1_000_000_000 / rate)
    let reportPeriod = reportEvery / UInt64(backEnds.count)
    var latencies: [UInt64] = []
    latencies.reserveCapacity(total)
    var pending: [Decision] = []
    var requests: [DecisionRequest] = []
    let start = MonotonicTime.now() + 1_000_000
    var nextReport = start
    var reporter = 0
    var sent = 0
    var last = start
    var pause: UInt64 = 0
    while latencies.count < total {
      let now = MonotonicTime.now()
      if now > last { pause = max(pause, now - last) }
      last = max(start, now)
      let arrived = now < start ? 0 : min(total, Int((now - start) / period) + 1)
      if sent == latencies.count, arrived > sent {
        requests.removeAll(keepingCapacity: true)
        for index in sent..<arrived {
          requests.append(DecisionRequest(id: UInt64(index), target: stream[index % stream.count]))
        }
        distributor.send(.decisionRequests(requests))
        sent = arrived
        try distributor.flush()
      }
      pending.removeAll(keepingCapacity: true)
      try receive(distributor, now) { pending += $0 }
      if !pending.isEmpty {
        let end = MonotonicTime.now()
        for decision in pending { latencies.append(end - (start + decision.id * period)) }
        count(pending, keepingOpen: 600)
      } else if now >= nextReport {
        nextReport += reportPeriod
        report(reporter)
        reporter = (reporter + 1) % backEnds.count
      }
    }
    latencies.sort()
    func percentile(_ share: Double) -> Double { Double(latencies[Int(Double(total) * share)]) / 1000 }
    return LatencyRound(
      median: percentile(0.5), p99: percentile(0.99), p999: percentile(0.999), generatorPause: Double(pause) / 1000)
  }
}
