// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel

/// The readable report: one Markdown file with plots beside it, and one page with all plots in it.
public struct BenchReport {
  private let result: BenchResult

  public init(_ result: BenchResult) { self.result = result }

  /// Writes `report.html`, `report.md`, `report.json` and the latter's plots into a folder, which is made.
  public func write(to folder: String) throws {
    try Command.run(["mkdir", "-p", folder]).checked()
    try Cluster.write(markdown(), to: "\(folder)/report.md")
    try Cluster.write(try result.json(), to: "\(folder)/report.json")
    let growth = ["growth-16.svg", "growth-64.svg"].compactMap { try? FileAccess.read("\(folder)/\($0)") }
    let page = HTMLReport(result: result, growth: growth.map { String(decoding: $0, as: UTF8.self) }).page()
    try Cluster.write(page, to: "\(folder)/report.html")
    for (name, title) in result.workloads where !result.measured(name).isEmpty {
      try Cluster.write(cpuPlot(name, title).svg, to: "\(folder)/cpu-\(name).svg")
      try Cluster.write(throughputPlot(name, title).svg, to: "\(folder)/throughput-\(name).svg")
    }
  }

  private func markdown() -> String {
    var parts = [
      """
      # Bench

      \(result.rounds) rounds of \(result.seconds) s for each workload and system, \(result.servers) server nodes, \
      \(result.fronts) fronts, \(Machine.processors) processors for everything, clients included.

      All figures are medians over the rounds; a ratio is the median of the ratios within rounds, in brackets the least and \
      the greatest. "CPU" is the processor time of clients, front and servers together for each request, kernel included; \
      "machine" is the machine's total, which has other programs in it. In a closed loop on one machine throughput is \
      processors divided by CPU per request: read the ratios, not the rates.
      """
    ]
    for (name, title) in result.workloads where !result.measured(name).isEmpty { parts.append(section(name, title)) }
    if !result.churn.isEmpty { parts.append(churnSection()) }
    if !result.idle.isEmpty { parts.append(idleSection()) }
    parts.append(systemsSection())
    return parts.joined(separator: "\n\n") + "\n"
  }

  private func section(_ name: String, _ title: String) -> String {
    let hasHits = result.measured(name).contains { result.figure(name, $0)?.hitRatio != nil }
    var lines = [
      "## \(title)", "",
      "![CPU per request](cpu-\(name).svg) ![throughput](throughput-\(name).svg)", "",
      "| system | requests/s | of direct | of best peer | CPU us/request | of direct | of best peer | machine us | p50 us "
        + "| p99 us | p99.9 us | front KB/request | errors |\(hasHits ? " hit ratio |" : "")",
      "|---|" + String(repeating: "---:|", count: hasHits ? 13 : 12),
    ]
    for system in result.measured(name) {
      guard let figure = result.figure(name, system) else { continue }
      let failures = figure.failures.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
      var cells = [
        system, whole(figure.requestsPerSecond),
        "\(figure.throughputRatioToDirect) \(spread(figure.throughputRatioSpread))",
        figure.throughputRatioToBestPeer.map { "\($0)" } ?? "", whole(figure.cpuMicroseconds),
        "\(figure.cpuRatioToDirect) \(spread(figure.cpuRatioSpread))", figure.cpuRatioToBestPeer.map { "\($0)" } ?? "",
        whole(figure.machineMicroseconds), whole(figure.p50), whole(figure.p99), whole(figure.p999),
        "\(hundredths(figure.frontBytes / 1024))", figure.errors == 0 ? "0" : "\(figure.errors) (\(failures))",
      ]
      if hasHits { cells.append("\(hundredths(figure.hitRatio ?? 0))") }
      lines.append("| \(cells.joined(separator: " | ")) |")
    }
    lines += ["", "CPU by role, us per request (the kernel charges a packet's whole way to whoever sends it):", ""]
    let roles = ["client", "front", "dispatcher", "agent", "server", "softirq threads"]
    lines += [
      "| system | \(roles.joined(separator: " | ")) | generator's share of its thread |",
      "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for system in result.measured(name) {
      guard let figure = result.figure(name, system) else { continue }
      let cells = roles.map { whole(figure.roles[$0] ?? 0) } + ["\(hundredths(figure.clientShare))"]
      lines.append("| \(system) | \(cells.joined(separator: " | ")) |")
    }
    return lines.joined(separator: "\n")
  }

  private func churnSection() -> String {
    var lines = [
      "## A web server ends and comes back", "",
      "New connections, 8 KB, 32 at a time; one of the server nodes has no web server during the middle third.", "",
      "| system | requests | failed | requests/s | p99 us |", "|---|---:|---|---:|---:|",
    ]
    for system in result.systems {
      guard let churn = result.churn[system.name] else { continue }
      let failures = churn.failures.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
      lines.append(
        "| \(system.name) | \(churn.requests) | \(churn.errors)\(failures.isEmpty ? "" : " (\(failures))") | "
          + "\(whole(churn.requestsPerSecond)) | \(whole(churn.p99)) |")
    }
    return lines.joined(separator: "\n")
  }

  private func idleSection() -> String {
    var lines = [
      "## Memory of idle connections", "",
      """
      Each has carried one request and stays open. Bytes per connection and role: resident memory of its processes + what the \
      kernel charged to them (sockets, descriptors, epoll) + BPF maps. "Kernel" is by how much all of the kernel's memory grew, \
      both ends of all sockets included. In brackets what a role held before the first connection, in MB, resident and maps.
      """, "",
      "| system | open | fronts, nodes | front | dispatcher | agent | server | kernel | failed |",
      "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for system in result.systems {
      guard let idle = result.idle[system.name] else { continue }
      let cells = ["front", "dispatcher", "agent", "server"].map { role in
        guard let each = idle.each(role) else { return "" }
        let fixed = idle.fixed[role] ?? MemoryUse()
        let before = [fixed.user, fixed.maps].map { "\(tenths(Double($0) / 1e6))" }.joined(separator: ", ")
        return "\(whole(each.user)) + \(whole(each.kernel)) + \(whole(each.maps)) (\(before))"
      }
      lines.append(
        "| \(system.name) | \(idle.open) of \(idle.asked) | \(idle.fronts), \(idle.serverNodes) | "
          + "\(cells.joined(separator: " | ")) | \(whole(idle.kernelBytesEach)) | "
          + "\(failureText(idle.failures)) |")
    }
    return lines.joined(separator: "\n")
  }

  private func systemsSection() -> String {
    var lines = ["## The systems", ""]
    for system in result.systems {
      let absence = result.absent[system.name].map { " **Absent: \($0)**" } ?? ""
      lines.append("- **\(system.name)**: \(system.explanation)\(absence)")
    }
    for (name, reason) in result.absent.sorted(by: { $0.key < $1.key })
    where !result.systems.contains(where: { $0.name == name }) {
      lines.append("- **\(name)**: **Absent: \(reason)**")
    }
    return lines.joined(separator: "\n")
  }

  private func cpuPlot(_ name: String, _ title: String) -> BarPlot {
    BarPlot(
      title: "\(title): CPU per request, of direct", bars: bars(name) { ($0.cpuRatioToDirect, $0.cpuRatioSpread) },
      mark: 1)
  }

  private func throughputPlot(_ name: String, _ title: String) -> BarPlot {
    BarPlot(
      title: "\(title): requests/s, of direct",
      bars: bars(name) { ($0.throughputRatioToDirect, $0.throughputRatioSpread) }, mark: 1)
  }

  private func bars(
    _ name: String, _ value: (BenchResult.Figure) -> (Double, [Double])
  ) -> [BarPlot.Bar] {
    result.measured(name).compactMap { system in
      guard let figure = result.figure(name, system) else { return nil }
      let (middle, spread) = value(figure)
      return BarPlot.Bar(
        name: system, value: middle, spread: spread[0] <= spread[1] ? spread[0]...spread[1] : nil,
        kind: result.systems.first { $0.name == system }?.kind ?? .cluster)
    }
  }

  private func failureText(_ failures: [String: Int]) -> String {
    failures.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
  }

  private func whole(_ value: Double) -> String { "\(Int(value.rounded()))" }

  private func spread(_ values: [Double]) -> String { values[0] == values[1] ? "" : "(\(values[0])-\(values[1]))" }
}
