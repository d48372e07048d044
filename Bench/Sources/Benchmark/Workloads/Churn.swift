// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Load

/// A server node's web server ends under load and comes back: what clients see of it.
struct Churn {
  struct Result: Sendable, Codable {
    var requests: Int
    var errors: Int
    var failures: [String: Int]
    var requestsPerSecond: Double
    var p99: Double

    var line: String { "\(requests) requests, \(errors) failed \(failures), p99 \(Int(p99)) us" }
  }

  private let running: RunningSystem
  private let documents: Documents
  private let seconds: Double

  init(_ running: RunningSystem, _ documents: Documents, seconds: Double) {
    self.running = running
    self.documents = documents
    self.seconds = seconds
  }

  /// The second node's server is away for the middle third of the time.
  func run() throws(LabError) -> Result {
    guard let workload = Workload.all.first(where: { $0.name == "new-8KB" }) else { throw LabError("no workload") }
    let node = try running.cluster.node("be2")
    let load = try LoadProcess(
      running.cluster, try documents.options(for: workload) + ["--seconds", "\(seconds)", "--timeout", "3"])
    Pause.seconds(seconds / 3)
    try running.cluster.process("be2/web").terminate()
    Pause.seconds(seconds / 3)
    try running.cluster.startWeb(of: node)
    let report = try load.finish(within: seconds + 30)
    try running.cluster.waitUntilServing()
    return Result(
      requests: report.requests, errors: report.failed, failures: report.failures,
      requestsPerSecond: report.requestsPerSecond, p99: Double(report.latency.quantile(0.99)) / 1e3)
  }
}

/// Time that has to pass: a measurement's length.
enum Pause {
  static func seconds(_ seconds: Double) {
    guard var epoll = try? Epoll(capacity: 1) else { return }
    let end = MonotonicTime.now() &+ UInt64(seconds * 1e9)
    while MonotonicTime.now() < end { _ = epoll.wait(until: end) }
  }
}
