// SPDX-License-Identifier: Apache-2.0

import Load

/// One measurement of one system under one workload.
public struct Sample: Sendable, Codable {
  public var requestsPerSecond: Double
  /// Microseconds of processor time per request that the system, its servers and its clients used together.
  public var cpuMicroseconds: Double
  /// The same from the machine's total: more when other programs ran.
  public var machineMicroseconds: Double
  /// Microseconds per request by role; `client` is the load generator.
  public var roles: [String: Double]
  public var p50: Double
  public var p99: Double
  public var p999: Double
  public var errors: Int
  public var failures: [String: Int]
  /// Bytes over the fronts' interfaces, both ways, per request.
  public var frontBytes: Double
  /// Share of its thread that the load generator used.
  public var clientShare: Double
  /// How late the load generator sent requests of an open loop, 99th percentile in microseconds.
  public var lateness: Double
  /// Share of requests that the nodes' caches answered; only where there are caches.
  public var hitRatio: Double?

  init(_ report: LoadReport, _ usage: UsageSnapshot) {
    let requests = Double(max(1, report.requests))
    requestsPerSecond = report.requestsPerSecond
    cpuMicroseconds = usage.own(client: report.cpuSeconds) * 1e6 / requests
    machineMicroseconds = usage.machine * 1e6 / requests
    roles = usage.roles.mapValues { $0 * 1e6 / requests }
    roles["client"] = report.ownMicroseconds
    roles["softirq threads"] = usage.kernelThreads * 1e6 / requests
    p50 = Double(report.latency.quantile(0.5)) / 1e3
    p99 = Double(report.latency.quantile(0.99)) / 1e3
    p999 = Double(report.latency.quantile(0.999)) / 1e3
    errors = report.failed
    failures = report.failures
    frontBytes = Double(usage.frontBytes) / requests
    clientShare = report.ownShare
    lateness = Double(report.lateness.quantile(0.99)) / 1e3
  }
}
