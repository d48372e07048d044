// SPDX-License-Identifier: Apache-2.0

public import Lab
import LinuxKernel

/// The whole bench: every workload on every system, side by side.
///
/// All systems are up during the whole run and are measured in turn within each round, in an order that changes from round
/// to round. Reported are medians of the ratios within rounds: a machine's speed drifts.
public struct Bench: Sendable {
  public var systems = BenchSystem.all
  public var workloads = Workload.all
  public var cacheWorkloads = CacheWorkload.all
  public var rounds = 5
  /// Seconds of each measurement.
  public var seconds = 2.0
  public var servers = 4
  public var fronts = 2
  /// Connections held open to see what one costs; 0 leaves that out.
  public var idleConnections = 50_000
  /// Seconds under load while a server node leaves and comes back; 0 leaves that out.
  public var churnSeconds = 6.0
  /// Policies of this cluster in the cache workload, besides LARD.
  public var cachePolicies = ["wrr", "lardr"]
  /// The only systems that are measured one at a time, with caches and with idle connections; nil for all.
  public var aloneSystems: Set<String>?
  /// A recorded trace for the cache workload.
  public var trace: String?
  /// Workloads measured once more with links without segmentation and checksum offload, so that every frame is at most as
  /// long as the MTU: with offloads up to 64 KB cross as one packet.
  public var withoutOffloads = ["new-8KB", "bulk-1MB"]

  public init() {}

  /// How many idle connections a workload's name `idle-NUMBER` asks for; nil when it is no such name.
  public static func idleConnections(of name: String) -> Int? { IdleBench.connections(of: name) }

  /// - Parameter progress: told a line for each measurement.
  public func run(_ progress: @escaping (String) -> Void) throws(LabError) -> BenchResult {
    ControlGroup.removeEmpty()
    var result = BenchResult(self)
    let home = try LabRun()
    defer { home.end() }
    try Command.run(["chmod", "755", home.folder]).checked()
    progress("writing the documents")
    let documents = try Documents(below: home.folder)
    if !workloads.isEmpty || churnSeconds > 0 {
      try SideBySide(bench: self, documents: documents, workloads: workloads, rounds: rounds).run(&result, progress)
    }
    let again = workloads.filter { withoutOffloads.contains($0.name) }.map { $0.withoutOffloads }
    if !again.isEmpty {
      let side = SideBySide(
        bench: self, documents: documents, workloads: again, rounds: max(1, rounds / 2), offloads: false)
      try side.run(&result, progress)
    }
    if idleConnections > 0 { try IdleBench(bench: self, documents: documents).run(&result, progress) }
    if !cacheWorkloads.isEmpty {
      let bench = CacheBench(bench: self, home: home.folder, documents: documents)
      try bench.run(&result, progress)
    }
    return result
  }
}
