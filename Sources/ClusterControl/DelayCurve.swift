// SPDX-License-Identifier: Apache-2.0

/// How a server's delay and throughput grow with the number of its open connections, and the thresholds of LARD that follow.
struct DelayCurve: Hashable {
  struct Level: Hashable {
    /// Connections open at a time, each with one request.
    var connections: Int
    /// Requests per second.
    var throughput: Double
    /// Milliseconds from opening a connection to its end: mean and 99th percentile.
    var meanDelay: Double
    var delay99: Double
    var failures: Int
  }

  var levels: [Level]

  struct Thresholds: Hashable {
    var low: Int
    var high: Int
    /// Requests per second that the server reaches at most.
    var capacity: Double
    /// Whether throughput still grew at the last level: more connections should have been tried.
    var isOpenEnded: Bool
  }

  /// The choice of the ASPLOS 1998 paper, measured instead of guessed.
  ///
  /// - T_low: the fewest connections that bring 90 % of the greatest throughput. With fewer the server has idle resources.
  /// - T_high: T_low plus what the server serves within `acceptableDelay`. Two servers differ by at most T_high - T_low
  ///   connections before targets move, and each connection more makes the others wait for 1 / throughput.
  ///
  /// - Parameter acceptableDelay: milliseconds that a request at the busiest server may take longer than at another one.
  /// - Returns: nil without a level that served anything.
  func thresholds(acceptableDelay: Double) -> Thresholds? {
    let sorted = levels.filter { $0.throughput > 0 }.sorted { $0.connections < $1.connections }
    guard let best = sorted.map(\.throughput).max(), let last = sorted.last else { return nil }
    guard let low = sorted.first(where: { $0.throughput >= 0.9 * best }) else { return nil }
    let high = low.connections + max(1, Int((best * acceptableDelay / 1000).rounded()))
    return Thresholds(
      low: low.connections, high: high, capacity: best, isOpenEnded: last.throughput == best && last == low)
  }
}
