// SPDX-License-Identifier: Apache-2.0

public import Lab

/// This project's load generator beside wrk, in turn against one nginx, one thread each: what each of them costs.
public struct GeneratorComparison: Sendable {
  private let rounds: Int
  private let seconds: Int

  public init(rounds: Int, seconds: Int) {
    self.rounds = rounds
    self.seconds = seconds
  }

  private struct Cost {
    /// Microseconds of processor time of the generator for each request.
    var own: Double
    var rate: Double
  }

  /// - Returns: a Markdown table.
  public func run(_ progress: (String) -> Void) throws(LabError) -> String {
    ControlGroup.removeEmpty()
    let home = try LabRun()
    defer { home.end() }
    try Command.run(["chmod", "755", home.folder]).checked()
    let documents = try Documents(below: home.folder)
    let plan = BenchSystem.direct.plan(servers: 1, fronts: 1, documents: documents.folder)
    let cluster = try Cluster.start(plan, site: Site(seed: Documents.seed, pages: []))
    defer { _ = cluster.stop() }
    var lines = [
      "| | wrk us | load us | ratio within rounds | wrk requests/s | load requests/s |",
      "|---|---:|---:|---|---:|---:|",
    ]
    for workload in Workload.all.prefix(4) {
      var wrk: [Cost] = []
      var load: [Cost] = []
      for round in 0..<rounds {
        for turn in 0..<2 {
          if (round + turn) % 2 == 0 {
            wrk.append(try measureWrk(cluster, workload))
          } else {
            load.append(try measureLoad(cluster, workload))
          }
        }
      }
      let ratios = zip(wrk, load).map { $1.own / $0.own }
      let line =
        "| \(workload.title) | \(tenths(median(wrk.map(\.own)))) | \(tenths(median(load.map(\.own)))) | "
        + "\(hundredths(median(ratios))) (\(hundredths(ratios.min() ?? 0))-\(hundredths(ratios.max() ?? 0))) | "
        + "\(Int(median(wrk.map(\.rate)))) | \(Int(median(load.map(\.rate)))) |"
      progress(line)
      lines.append(line)
    }
    return lines.joined(separator: "\n")
  }

  private func path(_ workload: Workload) -> String {
    guard case .uniform(let size, _) = workload.content else { return "/ready.txt" }
    return "/uniform-\(size)/1.bin"
  }

  private func measureWrk(_ cluster: Cluster, _ workload: Workload) throws(LabError) -> Cost {
    let close = workload.isKeptAlive ? [] : ["-H", "Connection: close"]
    let (text, cpu) = try run(
      cluster,
      ["wrk", "-t1", "-c\(workload.connections)", "-d\(seconds)s"] + close
        + ["http://\(cluster.endpoints[0])\(path(workload))"])
    for line in text.split(separator: "\n") where line.contains(" requests in ") {
      guard let requests = line.split(separator: " ").first.flatMap({ Double($0) }), requests > 0 else { break }
      return Cost(own: cpu * 1e6 / requests, rate: requests / Double(seconds))
    }
    throw LabError("wrk gave no summary: \(text)")
  }

  private func measureLoad(_ cluster: Cluster, _ workload: Workload) throws(LabError) -> Cost {
    let keep = workload.isKeptAlive ? ["--keep-alive"] : []
    let (text, cpu) = try run(
      cluster,
      [
        try LoadProcess.program(), "\(cluster.endpoints[0])", "--path", path(workload), "--connections",
        "\(workload.connections)", "--seconds", "\(seconds)",
      ] + keep)
    guard let requests = text.split(separator: " ").first.flatMap({ Double($0) }), requests > 0 else {
      throw LabError("load gave no summary: \(text)")
    }
    return Cost(own: cpu * 1e6 / requests, rate: requests / Double(seconds))
  }

  /// Runs a generator in the clients' namespace; its output and its processor seconds.
  private func run(_ cluster: Cluster, _ arguments: [String]) throws(LabError) -> (String, Double) {
    guard let group = ControlGroup("ho-\(cluster.run.id)-generator") else {
      throw LabError("no control group can be made below /sys/fs/cgroup")
    }
    defer { group.remove() }
    let result = try cluster.client.run(group.command(arguments)).checked()
    return (result.output, group.cpuSeconds())
  }
}
