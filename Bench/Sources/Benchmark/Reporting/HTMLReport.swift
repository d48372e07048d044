// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The report as one page with its plots in it, which needs nothing from elsewhere.
struct HTMLReport {
  let result: BenchResult
  /// Plots of an earlier `bench growth` in the same folder, as SVG.
  var growth: [String] = []

  private var measured: [(name: String, title: String)] {
    result.workloads.filter { !result.measured($0.name).isEmpty }
  }

  func page() -> String {
    var body = ["<h1>Bench</h1>", introduction]
    let links = measured.map { "<a href=\"#\($0.name)\">\(HTML.escaped($0.title))</a>" }
    let more = result.idle.isEmpty ? [] : ["<a href=\"#memory\">memory of idle connections</a>"]
    body.append("<nav>\((links + more).joined(separator: " "))</nav>")
    body.append(
      overview("CPU per request, of no balancer (lower is better)") { figure in
        (figure.cpuRatioToDirect, figure.cpuRatioSpread, -log2(max(0.1, figure.cpuRatioToDirect)))
      })
    body.append(
      overview("Requests per second, of no balancer (higher is better)") { figure in
        (figure.throughputRatioToDirect, figure.throughputRatioSpread, log2(max(0.1, figure.throughputRatioToDirect)))
      })
    body += measured.map { section($0.name, $0.title) }
    if !result.idle.isEmpty { body.append(memorySection) }
    if !result.churn.isEmpty { body.append(churnSection) }
    if !growth.isEmpty {
      body.append("<h2 id=\"growth\">Growth with nodes</h2><div class=\"plots\">\(growth.joined())</div>")
    }
    body.append(systemsSection)
    return HTML.page(title: "Bench", body)
  }

  private var introduction: String {
    """
    <p class="note">\(result.rounds) rounds of \(result.seconds) s for each workload and system, \(result.servers) server \
    nodes, \(result.fronts) fronts, \(Machine.processors) processors for everything, clients included. Figures are medians over \
    the rounds; ratios are medians of the ratios within rounds, lines in the plots are the least and the greatest. CPU is what \
    clients, fronts and servers used together for each request, kernel included. In a closed loop on one machine throughput \
    is processors divided by CPU per request: read the ratios, not the rates.</p>
    """
  }

  /// Those of the list, and this cluster with the policies of the cache workload.
  private var columns: [String] {
    let known = result.systems.map(\.name)
    var more: [String] = []
    for name in measured.flatMap({ result.measured($0.name) }) where !(known + more).contains(name) {
      more.append(name)
    }
    return known + more
  }

  /// Workloads down, systems across.
  private func overview(
    _ title: String, _ value: (BenchResult.Figure) -> (ratio: Double, spread: [Double], quality: Double)
  ) -> String {
    let rows = measured.map { name, title in
      [HTML.Cell(text: title)]
        + columns.map { system in
          guard let figure = result.figure(name, system) else {
            return result.absent[system].map { HTML.Cell(text: "absent", note: $0) } ?? .empty
          }
          let (ratio, spread, quality) = value(figure)
          let failed = figure.errors > 0 ? ", \(figure.errors) failed" : ""
          return HTML.Cell(
            text: "\(ratio)\(failed)", quality: kind(of: system) == .reference ? nil : quality,
            note: "\(spread.map { "\($0)" }.joined(separator: " to "))")
        }
    }
    return "<h2>\(HTML.escaped(title))</h2>" + HTML.table(["workload"] + columns, rows)
  }

  private func section(_ name: String, _ title: String) -> String {
    let systems = result.measured(name)
    let figures = systems.compactMap { system in result.figure(name, system).map { (system, $0) } }
    var plots = [
      BarPlot(
        title: "CPU per request, of direct",
        bars: figures.map { bar($0, $1.cpuRatioToDirect, $1.cpuRatioSpread) }, mark: 1
      ).svg,
      BarPlot(
        title: "Requests per second, of direct",
        bars: figures.map { bar($0, $1.throughputRatioToDirect, $1.throughputRatioSpread) }, mark: 1
      ).svg,
      LatencyPlot(
        title: "Latency",
        rows: figures.map { .init(name: $0, values: [$1.p50, $1.p99, $1.p999], kind: kind(of: $0)) }
      ).svg,
      StackPlot(
        title: "CPU per request by who used it", rows: figures.map { .init(name: $0, parts: roles($1)) }, unit: "us"
      ).svg,
    ]
    if figures.contains(where: { $0.1.hitRatio != nil }) {
      plots.append(
        BarPlot(title: "Hit ratio of the nodes' caches", bars: figures.map { bar($0, $1.hitRatio ?? 0, []) }).svg)
    }
    let head = ["system", "requests/s", "CPU us/request", "p50", "p99", "p99.9", "front KB/request", "failed"]
    let rows = figures.map { system, figure in
      [
        system, whole(figure.requestsPerSecond), whole(figure.cpuMicroseconds), LatencyPlot.duration(figure.p50),
        LatencyPlot.duration(figure.p99), LatencyPlot.duration(figure.p999), "\(hundredths(figure.frontBytes / 1024))",
        failures(figure.errors, figure.failures),
      ].map { HTML.Cell(text: $0) }
    }
    return "<h2 id=\"\(name)\">\(HTML.escaped(title))</h2>\n<div class=\"plots\">\(plots.joined())</div>"
      + HTML.table(head, rows)
  }

  private func bar(_ system: String, _ value: Double, _ spread: [Double]) -> BarPlot.Bar {
    let isSpread = spread.count == 2 && spread[0] <= spread[1]
    return BarPlot.Bar(
      name: system, value: value, spread: isSpread ? spread[0]...spread[1] : nil, kind: kind(of: system))
  }

  /// A system that is not in the list is this cluster with another policy.
  private func kind(of system: String) -> BenchSystem.Kind? {
    result.systems.first { $0.name == system }?.kind ?? (system.hasPrefix(BenchSystem.handoff.name) ? .cluster : nil)
  }

  private func roles(_ figure: BenchResult.Figure) -> [(name: String, value: Double)] {
    ["client", "server", "front", "agent", "dispatcher", "softirq threads"].map { ($0, figure.roles[$0] ?? 0) }
  }

  private func whole(_ value: Double) -> String { "\(Int(value.rounded()))" }

  private func failures(_ count: Int, _ kinds: [String: Int]) -> String {
    let text = kinds.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
    return count == 0 ? "0" : "\(count) (\(text))"
  }
}

extension HTMLReport {
  private var memorySection: String {
    let systems = result.systems.map(\.name).filter { result.idle[$0] != nil }
    let roles = ["front", "agent", "dispatcher", "server"]
    var each: [StackPlot.Row] = []
    var fixed: [StackPlot.Row] = []
    var rows: [[HTML.Cell]] = []
    for system in systems {
      guard let idle = result.idle[system] else { continue }
      var parts: [(name: String, value: Double)] = []
      var fixedParts: [(name: String, value: Double)] = []
      var cells = [system, "\(idle.open) of \(idle.asked)", "\(idle.fronts), \(idle.serverNodes)"]
      for role in roles {
        guard let bytes = idle.each(role) else {
          cells.append("")
          continue
        }
        parts += [("\(role), resident", bytes.user), ("\(role), kernel", bytes.kernel), ("\(role), maps", bytes.maps)]
        let before = idle.fixed[role] ?? MemoryUse()
        fixedParts += [
          ("\(role), resident", Double(before.user) / 1e6), ("\(role), maps", Double(before.maps) / 1e6),
        ]
        cells.append("\(whole(bytes.user)) + \(whole(bytes.kernel)) + \(whole(bytes.maps))")
      }
      cells += [whole(idle.kernelBytesEach), failures(idle.asked - idle.open, idle.failures)]
      each.append(.init(name: system, parts: parts))
      fixed.append(.init(name: system, parts: fixedParts))
      rows.append(cells.map { HTML.Cell(text: $0) })
    }
    let plots = [
      StackPlot(title: "Bytes for each idle connection, by role", rows: each, unit: "B").svg,
      StackPlot(title: "Before the first connection, all nodes together", rows: fixed, unit: "MB").svg,
    ]
    return """
      <h2 id="memory">Memory of idle connections</h2>
      <p class="note">Each connection has carried one request and stays open. By role: resident memory of its processes + what \
      the kernel charges to them (sockets, descriptors, epoll items) + BPF maps. "Kernel" is by how much all of the kernel's \
      memory grew for each connection, the clients' sockets included.</p>
      <div class="plots">\(plots.joined())</div>
      """
        + HTML.table(
          ["system", "open", "fronts, nodes"] + roles + ["kernel", "failed"],
          rows)
  }

  private var churnSection: String {
    let rows = result.systems.compactMap { system in
      result.churn[system.name].map { churn in
        [
          system.name, "\(churn.requests)", failures(churn.errors, churn.failures), whole(churn.requestsPerSecond),
          LatencyPlot.duration(churn.p99),
        ].map { HTML.Cell(text: $0) }
      }
    }
    return """
      <h2 id="churn">A web server ends and comes back</h2>
      <p class="note">New connections, 8 KB; one of the server nodes has no web server during the middle third.</p>
      """ + HTML.table(["system", "requests", "failed", "requests/s", "p99"], rows)
  }

  private var systemsSection: String {
    let items = result.systems.map { system in
      let absence = result.absent[system.name].map { " <b>Absent: \(HTML.escaped($0))</b>" } ?? ""
      return "<li><b>\(HTML.escaped(system.name))</b>: \(HTML.escaped(system.explanation))\(absence)</li>\n"
    }
    let others = result.absent.filter { name, _ in !result.systems.contains { $0.name == name } }
      .sorted { $0.key < $1.key }.map { "<li><b>\(HTML.escaped($0))</b>: absent: \(HTML.escaped($1))</li>\n" }
    return "<h2>The systems</h2><ul>\((items + others).joined())</ul>"
  }
}
