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

/// The cache workload: each system in front of nodes with Varnish and a slow store. Its systems are not up together: each
/// is measured with every workload after a time to fill the caches.
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
    for system in systems {
      if let reason = system.absence() {
        result.absent[system.name] = reason
        continue
      }
      var plan = system.plan(servers: bench.servers, fronts: bench.fronts, documents: folder)
      plan.serverProgram = CacheNode()
      let running = try RunningSystem(system, plan)
      defer { result.complaints += running.stop() }
      for workload in bench.cacheWorkloads {
        let options: [String]
        switch workload.requests {
        case .zipf(let hot): options = zipf + ["--hot", "\(hot)"]
        case .trace:
          if sequence.isEmpty { continue }
          options = sequence
        }
        let sample = try measure(running, options + ["--connections", "128"])
        result.add(sample, workload.name, system.name, 0)
        progress(
          "\(workload.name) \(system.name): \(Int(sample.requestsPerSecond))/s, hit ratio \(hundredths(sample.hitRatio ?? 0)), "
            + "\(sample.errors) errors")
      }
    }
  }

  private func measure(_ running: RunningSystem, _ options: [String]) throws(LabError) -> Sample {
    // Never less than the stores need to deliver most of the pages once.
    _ = try running.measure(options, seconds: max(7, bench.seconds))
    let before = try CacheNode.lookups(running.cluster)
    var sample = try running.measure(options, seconds: max(3, bench.seconds))
    let after = try CacheNode.lookups(running.cluster)
    let hits = Double(after.hits - before.hits)
    let misses = Double(after.misses - before.misses)
    sample.hitRatio = hits / max(1, hits + misses)
    return sample
  }
}
