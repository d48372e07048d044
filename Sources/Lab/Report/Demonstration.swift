// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

/// One demonstration: a cluster, a request stream replayed through it, and what was measured.
public struct Demonstration: Sendable {
  public var plan: ClusterPlan
  public var site: Site
  /// Page numbers asked for on each connection.
  public var connections: [[Int]]
  public var concurrency = 64

  public init(plan: ClusterPlan, site: Site, connections: [[Int]]) {
    self.plan = plan
    self.site = site
    self.connections = connections
  }

  /// Runs it, tells about progress in lines, and cleans up.
  public func run(progress: (String) -> Void) throws(LabError) -> DemonstrationResult {
    progress("starting \(plan.nodes.count) nodes; site of \(site.pages.count) pages, \(site.totalBytes >> 20) MB")
    let cluster = try Cluster.start(plan, site: site)
    defer { cluster.stop() }
    progress("lab \(cluster.run.id) is up: clients dial \(cluster.endpoints.map { "\($0)" }.joined(separator: ", "))")

    let fronts = cluster.nodes.filter { $0.service != nil }
    // Each endpoint has answered a request of the start by now.
    let probes = cluster.endpoints.count + cluster.endpoints6.count
    let metricsBefore = try cluster.settledMetrics(afterHandoffs: plan.front == .handoff ? probes : 0)
    let processorBefore = try ProcessorTime.now(of: cluster)
    var counters: [ResponseCounter] = []
    for front in fronts {
      counters.append(
        try ResponseCounter(
          port: front.name, of: cluster.fabric, sourcePorts: [plan.frontPort, plan.serverPort]))
    }
    let report = try cluster.replay(connections, concurrency: concurrency, progress: progress)
    let processor = try ProcessorTime.now(of: cluster).since(processorBefore)

    let placement = try cluster.placement(of: report.requests - report.failed)
    var responses = ResponseCounter.Count()
    for (front, counter) in zip(fronts, counters) {
      let count = try counter.stop()
      responses.enteringBytes += count.enteringBytes
      // A server on the same machine answers clients through the same port.
      if front.web == nil { responses.leavingBytes += count.leavingBytes }
      responses.lostFrames += count.lostFrames
    }
    let before = Int(metricsBefore["handoff_distributor_handoffs_total", ["outcome": "accepted"]])
    let expected = plan.front == .handoff ? before + report.connections : 0
    let metrics = try cluster.settledMetrics(afterHandoffs: expected).since(metricsBefore)
    progress("stopping the cluster")
    let leftovers = cluster.stop()
    return DemonstrationResult(
      plan: plan, planned: connections, report: report, placement: placement, responses: responses, metrics: metrics,
      processor: processor, leftovers: leftovers)
  }
}

extension Cluster {
  /// Starts a replay client in the clients' namespace and waits for its end.
  ///
  /// - Parameters:
  ///   - connections: page numbers of the site to be asked for on each connection.
  ///   - concurrency: connections open at a time.
  ///   - timeout: seconds for a connection to stand, and for a request.
  public func replay(
    _ connections: [[Int]], concurrency: Int, timeout: Double = 15, progress: (String) -> Void = { _ in }
  ) throws(LabError) -> ReplayReport {
    let planFile = "\(run.folder)/replay.json"
    let reportFile = "\(run.folder)/report.json"
    let log = "\(run.folder)/replay.log"
    for file in [reportFile, log] { Folder.remove(file) }
    var plan = ReplayPlan(
      site: site, connections: connections, endpoints: endpoints + endpoints6,
      sources: clientAddresses.flatMap { [$0.ipv4, $0.ipv6] }, concurrency: concurrency)
    plan.timeout = timeout
    try plan.write(to: planFile)
    let client = try self.client.start(
      name: "replay", [try LabTools.path(of: "lab"), "replay", planFile, "--report", reportFile], logFile: log)
    var shown = 0
    while true {
      let status = client.wait(seconds: 0.5)
      let lines = client.log(last: .max).split(separator: "\n", omittingEmptySubsequences: false).dropLast()
      for line in lines.dropFirst(shown) { progress(String(line)) }
      shown = lines.count
      guard let status else { continue }
      guard status.isSuccess else { throw LabError("the replay client ended with \(status): \(client.log())") }
      return try ReplayReport.load(reportFile)
    }
  }

  /// Metrics of all distributors and of the dispatcher together.
  func frontMetrics() throws(LabError) -> Metrics {
    guard plan.front == .handoff else { return Metrics(parsing: "") }
    var all: [String: Metrics] = [:]
    for node in nodes { all[node.name] = try metrics(of: node) }
    return Metrics.merging(all)
  }

  /// Metrics once `expected` handoffs are counted and have come to rest. A worker hears of the kernel's handoffs at a
  /// tick, of the agent's word at another, and publishes both at a third, so that a short rest says nothing.
  func settledMetrics(afterHandoffs expected: Int) throws(LabError) -> Metrics {
    let name = "handoff_distributor_handoffs_total"
    var last = try frontMetrics()
    var agreements = 0
    let deadline = MonotonicTime.now() &+ 10_000_000_000
    while agreements < 5, MonotonicTime.now() < deadline {
      Poll.pause(milliseconds: 100)
      let next = try frontMetrics()
      let isAtRest = next[name] == last[name] && Int(next[name, ["outcome": "accepted"]]) >= expected
      agreements = isAtRest ? agreements + 1 : 0
      last = next
    }
    return last
  }

  /// The servers' logs, once they hold `expected` answered requests of the site; servers write them late.
  func placement(of expected: Int) throws(LabError) -> Placement {
    let pages = Set(site.pages.map(\.path))
    func read() throws(LabError) -> Placement {
      Placement(try accessRecords()) { $0.status == 200 && pages.contains($0.path) }
    }
    let complete = try? Eventually.within(10) {
      try read()
    } until: {
      $0.requests.values.reduce(0, +) >= expected
    }
    if let complete { return complete }
    return try read()
  }
}
