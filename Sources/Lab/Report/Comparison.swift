// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LinuxKernel

/// Side-by-side measurement of this cluster against HAProxy and against no balancer, with the same four nginx nodes each.
///
/// All systems are up during the whole run and are measured in turn within each round, in an order that changes from round
/// to round; what is reported are medians of the ratios within rounds, because a machine's speed drifts.
public struct Comparison: Sendable {
  public struct Workload: Sendable {
    public var name: String
    /// Bytes of each answer's body.
    public var size: Int
    public var pages: Int
    public var isKeptAlive: Bool
    /// Open at a time.
    public var connections: Int

    public init(_ name: String, size: Int, pages: Int, isKeptAlive: Bool, connections: Int) {
      self.name = name
      self.size = size
      self.pages = pages
      self.isKeptAlive = isKeptAlive
      self.connections = connections
    }

    var folder: String { "/bench-\(size)" }

    func writePages(of cluster: Cluster) throws(LabError) {
      let folder = cluster.documentRoot + folder
      try Folder.create(folder)
      let body = Array(repeating: UInt8(0x61), count: size)
      for page in 1...pages {
        do {
          try FileAccess.write(body, to: "\(folder)/\(page).bin")
        } catch {
          throw LabError("cannot write \(folder): \(error)")
        }
      }
    }
  }

  /// What stands between clients and web servers.
  enum System: String, CaseIterable, Sendable {
    /// Nothing.
    case direct
    case haproxy
    /// This cluster with relays on the server nodes.
    case relay
    /// This cluster as it is by default.
    case handoff

    var front: ClusterPlan.Front {
      switch self {
      case .direct: .direct
      case .haproxy: .haproxy
      case .relay, .handoff: .handoff
      }
    }
  }

  public static let workloads = [
    Workload("new-128B", size: 128, pages: 64, isKeptAlive: false, connections: 32),
    Workload("new-8KB", size: 8 << 10, pages: 64, isKeptAlive: false, connections: 32),
    Workload("kept-alive-1KB", size: 1 << 10, pages: 64, isKeptAlive: true, connections: 32),
    Workload("bulk-1MB", size: 1 << 20, pages: 16, isKeptAlive: false, connections: 8),
    Workload("bulk-16MB", size: 16 << 20, pages: 4, isKeptAlive: false, connections: 4),
  ]

  public var rounds = 5
  /// Seconds of each measurement.
  public var seconds = 3.0
  public var chosen = Comparison.workloads
  public var policy = "lard"

  public init() {}

  /// One measurement.
  struct Sample: Sendable {
    var requestsPerSecond: Double
    /// Microseconds of all processors per request.
    var processorTime: Double
    /// Of it, what was charged to the agents of the server nodes.
    var agentTime: Double
    var latencyP50: Double
    var latencyP99: Double
    var errors: Int
  }

  /// - Parameter progress: told a line for each measurement.
  public func run(_ progress: (String) -> Void) throws(LabError) -> ComparisonResult {
    let systems = System.allCases
    var clusters: [System: Cluster] = [:]
    for system in systems { clusters[system] = try start(system) }
    var samples: [String: [System: [Sample]]] = [:]
    var number = 0
    for round in 0..<rounds {
      for workload in chosen {
        for step in systems.indices {
          let system = systems[(step + round) % systems.count]
          guard let cluster = clusters[system] else { continue }
          number += 1
          let sample = try measure(cluster, workload, number)
          samples[workload.name, default: [:]][system, default: []].append(sample)
          progress(
            "round \(round + 1) \(workload.name) \(system.rawValue): \(Int(sample.requestsPerSecond))/s, "
              + "\(Int(sample.processorTime)) us per request, \(sample.errors) errors")
        }
      }
    }
    let handoffLatency = try clusters[.handoff].map { cluster throws(LabError) in try Comparison.handoffLatency(cluster)
    }
    for cluster in clusters.values { _ = cluster.stop() }
    return ComparisonResult(workloads: chosen, samples: samples, handoffLatency: handoffLatency)
  }

  private func start(_ system: System) throws(LabError) -> Cluster {
    var plan = ClusterPlan(
      front: system.front, placement: .separate, distributors: 2, servers: Array(repeating: .nginx, count: 4))
    plan.policy = policy
    plan.serve = system == .relay ? "repair" : "auto"
    plan.logLevel = "warning"
    let cluster = try Cluster.start(plan, site: Site.generate(seed: 1, pages: 10))
    for workload in chosen { try workload.writePages(of: cluster) }
    return cluster
  }

  private func measure(_ cluster: Cluster, _ workload: Workload, _ number: Int) throws(LabError) -> Sample {
    let before = try ProcessorTime.now(of: cluster)
    let result = try LoadGenerator(cluster: cluster, workload: workload, seconds: seconds).run(number: number)
    let used = try ProcessorTime.now(of: cluster).since(before)
    let requests = Double(max(1, result.requests))
    return Sample(
      requestsPerSecond: requests / max(result.seconds, 0.001), processorTime: used.machine * 1e6 / requests,
      agentTime: (used.roles["back-end agent"] ?? 0) * 1e6 / requests,
      latencyP50: result.latencyP50, latencyP99: result.latencyP99, errors: result.errors)
  }

  /// Median and 99th percentile from the distributors' histograms, in microseconds.
  private static func handoffLatency(_ cluster: Cluster) throws(LabError) -> [Double] {
    var all: [String: Metrics] = [:]
    for node in cluster.nodes where node.plan.isDistributor { all[node.name] = try cluster.metrics(of: node) }
    let merged = Metrics.merging(all)
    return [0.5, 0.99].map { quantile in
      (merged.quantile(quantile, of: DemonstrationResult.handoffHistogram) ?? 0) * 1e6
    }
  }
}
