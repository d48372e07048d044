// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// What a demonstration measured, as a table and as one JSON object.
public struct DemonstrationResult: Sendable {
  public var plan: ClusterPlan
  public var planned: [[Int]]
  public var report: ReplayReport
  public var placement: Placement
  public var responses: ResponseCounter.Count
  /// What the cluster's processes counted meanwhile.
  public var metrics: Metrics
  public var processor: ProcessorTime
  public var leftovers: [String]

  static let handoffHistogram = "handoff_distributor_handoff_duration_seconds"

  public var handoffs: Int {
    Int(metrics["handoff_distributor_handoffs_total", ["outcome": "accepted"]])
  }

  /// Of all decisions, those that distributors took without asking.
  public var leasedShare: Double {
    metrics["handoff_distributor_leased_decisions_total"] / max(1, metrics["handoff_distributor_decisions_total"])
  }

  /// Of all handoffs, those that the distributors' kernels made by themselves.
  public var kernelShare: Double {
    metrics["handoff_distributor_kernel_handoffs_total"] / max(1, Double(handoffs))
  }

  public var frontResponseBytes: Int { responses.enteringBytes + responses.leavingBytes }

  /// Everything that does not hold; empty when all does.
  public var complaints: [String] {
    var complaints: [String] = []
    let requests = planned.reduce(0) { $0 + $1.count }
    if report.requests != requests { complaints.append("\(report.requests) requests instead of \(requests)") }
    if report.failed > 0 {
      let kinds = report.failures.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
      complaints.append("failed requests: \(kinds.joined(separator: ", "))")
      complaints += report.examples
    }
    let logged = placement.requests.values.reduce(0, +)
    if logged != report.requests - report.failed {
      complaints.append("the servers logged \(logged) requests, the client got \(report.requests - report.failed)")
    }
    if plan.front == .handoff {
      if frontResponseBytes > 0 { complaints.append("\(frontResponseBytes) response bytes crossed a distributor") }
      if responses.lostFrames > 0 { complaints.append("\(responses.lostFrames) frames were not looked at") }
      if handoffs != report.connections {
        complaints.append("\(handoffs) handoffs for \(report.connections) connections")
      }
    }
    return complaints + leftovers
  }

  public func table() -> String {
    var rows: [(String, String)] = [
      ("requests", "\(report.requests) on \(report.connections) connections in \(decimal(report.seconds, 1)) s"),
      ("failures", "\(report.failed)"),
      ("bytes", "\(report.bytes), every one checked"),
    ]
    if plan.front == .handoff {
      rows.append(("handoffs", "\(handoffs)"))
      rows.append(("decisions under a lease", "\(decimal(100 * leasedShare, 1)) %"))
      rows.append(("handed off by the kernel", "\(decimal(100 * kernelShare, 1)) %"))
    }
    let total = max(1, placement.requests.values.reduce(0, +))
    for node in plan.nodes {
      guard let server = node.server else { continue }
      let count = placement.requests[node.name] ?? 0
      let share = decimal(100 * Double(count) / Double(total), 1)
      rows.append(("share of \(node.name) (\(server.rawValue))", "\(share) % (\(count))"))
    }
    for (name, locality) in [("locality", placement.all), ("locality of first requests", placement.first)] {
      rows.append((name, "\(decimal(locality.share, 3)) of \(locality.repeated) repeated"))
    }
    if plan.front != .direct { rows.append(("response bytes across the front", "\(frontResponseBytes)")) }
    if let median = handoffMicroseconds(0.5), let high = handoffMicroseconds(0.99) {
      rows.append(("handoff latency", "p50 \(median) us, p99 \(high) us"))
    }
    for (name, times) in [
      ("connect", report.connectTime), ("first byte", report.firstByteTime), ("whole answer", report.requestTime),
    ] {
      let values = times.quantiles([0.5, 0.99])
      rows.append(("client: \(name)", "p50 \(values[0]) us, p99 \(values[1]) us"))
    }
    for (role, seconds) in processor.roles.sorted(by: { $0.key < $1.key }) {
      rows.append(("CPU of \(role)", perRequest(seconds)))
    }
    rows.append(("CPU of the machine", perRequest(processor.machine)))
    let width = rows.map(\.0.count).max() ?? 0
    return rows.map { name, value in
      "  \(name)\(String(repeating: " ", count: width - name.count))  \(value)"
    }.joined(separator: "\n")
  }

  /// One line.
  public func json() throws(LabError) -> String {
    let summary = Summary(
      front: plan.front.rawValue, requests: report.requests, failures: report.failed, connections: report.connections,
      bytes: report.bytes, handoffs: handoffs, leasedShare: rounded(leasedShare),
      kernelShare: rounded(kernelShare), frontResponseBytes: frontResponseBytes,
      locality: rounded(placement.all.share), localityFirst: rounded(placement.first.share), shares: placement.requests,
      handoffUsP50: handoffMicroseconds(0.5) ?? 0, handoffUsP99: handoffMicroseconds(0.99) ?? 0,
      firstByteUsP50: report.firstByteTime.quantile(0.5), firstByteUsP99: report.firstByteTime.quantile(0.99),
      seconds: rounded(report.seconds), cpuSeconds: processor.roles.mapValues { rounded($0) },
      machineCpuSeconds: rounded(processor.machine), ok: complaints.isEmpty)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    do {
      return String(decoding: try encoder.encode(summary), as: UTF8.self)
    } catch {
      throw LabError("cannot write the result as JSON: \(error)")
    }
  }

  private struct Summary: Encodable {
    var front: String
    var requests: Int
    var failures: Int
    var connections: Int
    var bytes: Int
    var handoffs: Int
    var leasedShare: Double
    var kernelShare: Double
    var frontResponseBytes: Int
    var locality: Double
    var localityFirst: Double
    var shares: [String: Int]
    var handoffUsP50: Int
    var handoffUsP99: Int
    var firstByteUsP50: Int
    var firstByteUsP99: Int
    var seconds: Double
    var cpuSeconds: [String: Double]
    var machineCpuSeconds: Double
    var ok: Bool
  }

  private func handoffMicroseconds(_ quantile: Double) -> Int? {
    metrics.quantile(quantile, of: DemonstrationResult.handoffHistogram).map { Int(($0 * 1e6).rounded()) }
  }

  private func perRequest(_ seconds: Double) -> String {
    let each = report.requests == 0 ? 0 : seconds / Double(report.requests) * 1e6
    return "\(decimal(seconds, 2)) s (\(decimal(each, 0)) us per request)"
  }

  private func rounded(_ value: Double) -> Double { (value * 1e4).rounded() / 1e4 }

  private func decimal(_ value: Double, _ places: Int) -> String {
    if places == 0 { return "\(Int(value.rounded()))" }
    var scale = 1
    for _ in 0..<places { scale *= 10 }
    let scaled = Int((value * Double(scale)).rounded())
    let fraction = String(abs(scaled % scale))
    return
      "\(scaled < 0 ? "-" : "")\(abs(scaled) / scale).\(String(repeating: "0", count: places - fraction.count))\(fraction)"
  }
}
