// SPDX-License-Identifier: Apache-2.0

import Lab

/// What clients ask nodes with bounded caches for.
public struct CacheWorkload: Sendable {
  public var name: String
  public var title: String
  var requests: Requests

  enum Requests: Sendable {
    /// Zipf over a site; a share of the requests goes to one page.
    case zipf(hot: Double)
    case trace
  }

  public static let all = [
    CacheWorkload(name: "cache-zipf", title: "bounded caches, Zipf", requests: .zipf(hot: 0)),
    CacheWorkload(name: "cache-hot", title: "bounded caches, Zipf with 30 % for one page", requests: .zipf(hot: 0.3)),
    CacheWorkload(name: "cache-trace", title: "bounded caches, recorded trace", requests: .trace),
  ]
}

/// The cache workload: each system in front of nodes with Varnish and a slow store. All are up during the whole of it, fill
/// their caches at the same time, which costs the stores' time more than processors, and are measured in turn.
struct CacheBench {
  let bench: Bench
  let home: String
  let documents: Documents

  static let site = Site.generate(seed: 11, pages: 1500, maximumSize: 256 << 10, maximumTotal: 16 << 20)

  /// This cluster with LARD and with two other policies, the content-aware peers, and no balancer.
  private var systems: [BenchSystem] {
    var systems = bench.systems.filter {
      $0.seesContent && $0.isMade(for: Workload.cacheGroup, alone: bench.aloneSystems) && $0.options.isEmpty
    }
    if systems.contains(where: { $0.name == "handoff" }) {
      for policy in bench.cachePolicies {
        var system = BenchSystem.handoff
        system.name = "handoff-\(policy)"
        system.policy = policy
        system.explanation = "This cluster with `--policy \(policy)`."
        systems.append(system)
      }
    }
    return systems
  }

  func run(_ result: inout BenchResult, _ progress: (String) -> Void) throws(LabError) {
    if let absence = ["varnishd", "varnishstat"].compactMap({ needed in
      (try? Command.run(["sh", "-c", "command -v \(needed)"]))?.isSuccess == true ? nil : "\(needed) is not installed"
    }).first {
      for system in systems { result.absent["\(system.name) with caches"] = absence }
      return
    }
    var site = Self.site
    let zipf = ["--paths", try documents.writeList("cache-zipf", site.pages), "--choose", "zipf", "--exponent", "0.8"]
    var sequence: [String] = []
    if let trace = bench.trace {
      let recorded = try Trace.load(trace, seed: 11, maximumTotal: 64 << 20)
      sequence = [
        "--paths", try documents.writeList("cache-trace", recorded.site.pages), "--choose", "sequence", "--sequence",
        try documents.writeSequence("cache-sequence", recorded.requests),
      ]
      site.pages += recorded.site.pages
    }
    let folder = "\(home)/cached"
    try Cluster.writeDocuments(of: site, to: folder)
    var running: [RunningSystem] = []
    defer { for system in running { result.complaints += system.stop() } }
    for system in systems {
      if let reason = system.absence() {
        result.absent[system.name] = reason
        continue
      }
      var plan = system.plan(servers: bench.servers, fronts: bench.fronts, documents: folder)
      plan.serverProgram = CacheNode()
      running.append(try RunningSystem(system, plan))
    }
    for workload in bench.cacheWorkloads {
      let options: [String]
      switch workload.requests {
      case .zipf(let hot): options = zipf + ["--hot", "\(hot)"]
      case .trace:
        if sequence.isEmpty { continue }
        options = sequence
      }
      try fill(running, options)
      for round in 0..<max(1, min(3, bench.rounds)) {
        for step in running.indices {
          let place = round % 2 == 0 ? step : running.count - 1 - step
          let system = running[(place + round) % running.count]
          let sample = try measure(system, options)
          result.add(sample, workload.name, system.system.name, round)
          progress(
            "round \(round + 1) \(workload.name) \(system.system.name): \(Int(sample.requestsPerSecond))/s, hit ratio "
              + "\(hundredths(sample.hitRatio ?? 0)), \(sample.errors) errors")
        }
      }
    }
  }

  private static let connections = ["--connections", "128"]

  /// Sends requests through all systems until the stores must have delivered most of the pages once.
  private func fill(_ running: [RunningSystem], _ options: [String]) throws(LabError) {
    let seconds = max(7, 2 * Double(running.count))
    var loads: [LoadProcess] = []
    for system in running {
      loads.append(try LoadProcess(system.cluster, options + Self.connections + ["--seconds", "\(seconds)"]))
    }
    for load in loads { _ = try load.finish(within: seconds + 30) }
  }

  private func measure(_ running: RunningSystem, _ options: [String]) throws(LabError) -> Sample {
    let before = try CacheNode.lookups(running.cluster)
    var sample = try running.measure(options + Self.connections, seconds: max(3, bench.seconds))
    let after = try CacheNode.lookups(running.cluster)
    let hits = Double(after.hits - before.hits)
    let misses = Double(after.misses - before.misses)
    sample.hitRatio = hits / max(1, hits + misses)
    return sample
  }
}
