// SPDX-License-Identifier: Apache-2.0

import Lab

/// What a distributor counts, with the sums that must agree.
struct Ledger {
  private let cluster: Cluster
  private let node: ClusterNode
  private let before: Metrics
  static let prefix = "handoff_distributor_"

  init(_ cluster: Cluster) throws {
    self.cluster = cluster
    node = try Route.handoff.node(cluster)
    before = try cluster.metrics(of: node)
  }

  /// Waits until no connection is open and all of these were counted since this ledger began.
  ///
  /// - Parameter expected: how often at least each outcome of each family.
  func waitUntilIdle(
    counting expected: [String: [String: Double]] = [:], within seconds: Double = 8
  ) throws {
    _ = try Eventually.within(seconds) {
      try look(expected)
    } until: {
      $0.isEmpty
    }
  }

  /// Waits until the requests by which the cluster was found ready are counted, one of each family at least: counters are
  /// copied out a moment later.
  static func waitUntilStartIsCounted(_ cluster: Cluster) throws {
    _ = try Eventually.within(8) {
      try cluster.metrics(of: Route.handoff.node(cluster))[prefix + "connections_total", ["outcome": "handed_off"]]
    } until: {
      $0 >= 2
    }
    try Ledger(cluster).waitUntilIdle()
  }

  private func look(_ expected: [String: [String: Double]]) throws -> [String] {
    let now = try cluster.metrics(of: node)
    let since = now.since(before)
    var faults = Ledger.disagreements(now)
    for (family, outcomes) in expected {
      for (outcome, count) in outcomes {
        let name = family == RawCase.kernelFamily ? family : Ledger.prefix + family
        let seen = since[name, ["outcome": outcome]]
        if seen < count { faults.append("\(family) \(outcome): \(seen) of \(count)") }
      }
    }
    for gauge in [
      "open_connections", "embryonic_connections", "live_flows", "handoff_attempts_under_way", "receive_buffer_bytes",
      "held_packet_bytes",
    ] where now[Ledger.prefix + gauge] != 0 {
      faults.append("\(gauge) \(now[Ledger.prefix + gauge])")
    }
    if !faults.isEmpty {
      let counted = since.samples.filter { $0.value != 0 && $0.labels["outcome"] != nil }
      faults.append("counted: \(counted.map { "\($0.name) \($0.labels["outcome"] ?? ""): \($0.value)" })")
    }
    return faults
  }

  static func disagreements(_ metrics: Metrics) -> [String] {
    [
      ("packets_received_total", "packets_total", nil),
      ("handshakes_started_total", "handshakes_total", "embryonic_connections"),
      ("connections_opened_total", "connections_total", "open_connections"),
      ("handoff_attempts_total", "handoffs_total", "handoff_attempts_under_way"),
    ].compactMap { (whole: String, parts: String, rest: String?) in
      let all = metrics[prefix + whole]
      let sum = metrics[prefix + parts] + (rest.map { metrics[prefix + $0] } ?? 0)
      return all == sum ? nil : "\(whole) \(all) is not the sum \(sum) of \(parts)"
    }
  }
}
