// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

/// What a connection costs at the distributor, by who answers handshakes and by how packets come to user space: all
/// variants up at once, measured in turn within each round.
public struct IntakeComparison: Sendable {
  public struct Variant: Hashable, Sendable {
    public var handshake: String
    public var packets: String
    public var name: String { "\(handshake)/\(packets)" }
  }

  public static let variants = [
    Variant(handshake: "user", packets: "queue"), Variant(handshake: "user", packets: "ring"),
    Variant(handshake: "kernel", packets: "queue"), Variant(handshake: "kernel", packets: "ring"),
  ]

  /// Medians over the rounds, per connection.
  public struct Row: Codable, Sendable {
    public var variant: String
    public var connectionsPerSecond: Double
    /// Packets that entered user space.
    public var packets: Double
    /// Microseconds of processor time of the distributors' processes, and of the whole machine.
    public var distributor: Double
    public var machine: Double
    public var errors: Int
  }

  public var rounds = 5
  public var seconds = 3.0
  public var chosen = IntakeComparison.variants

  public init() {}

  public func run(_ progress: (String) -> Void) throws(LabError) -> [Row] {
    let workload = LoadWorkload.small
    var clusters: [Cluster] = []
    for variant in chosen { clusters.append(try start(variant, workload)) }
    var samples: [[Row]] = Array(repeating: [], count: chosen.count)
    for round in 0..<rounds {
      for step in chosen.indices {
        let index = (step + round) % chosen.count
        let row = try measure(clusters[index], chosen[index], workload, round * chosen.count + step)
        samples[index].append(row)
        progress(
          "round \(round + 1) \(row.variant): \(Int(row.connectionsPerSecond))/s, \(tenths(row.packets)) packets, "
            + "\(tenths(row.distributor)) us distributor, \(tenths(row.machine)) us machine, \(row.errors) errors")
      }
    }
    for cluster in clusters { _ = cluster.stop() }
    return samples.map { IntakeComparison.median($0) }
  }

  private func start(_ variant: Variant, _ workload: LoadWorkload) throws(LabError) -> Cluster {
    var plan = ClusterPlan(placement: .separate, distributors: 2, servers: Array(repeating: .nginx, count: 4))
    plan.logLevel = "warning"
    plan.distributorOptions = ["--handshake", variant.handshake, "--packets", variant.packets]
    let cluster = try Cluster.start(plan, site: Site.generate(seed: 1, pages: 10))
    try workload.writePages(of: cluster)
    return cluster
  }

  private func measure(
    _ cluster: Cluster, _ variant: Variant, _ workload: LoadWorkload, _ number: Int
  ) throws(LabError) -> Row {
    let packetsBefore = try packets(cluster)
    let before = try ProcessorTime.now(of: cluster)
    let result = try LoadGenerator(cluster: cluster, workload: workload, seconds: seconds).run(number: number)
    let used = try ProcessorTime.now(of: cluster).since(before)
    let connections = Double(max(1, result.requests))
    return Row(
      variant: variant.name, connectionsPerSecond: connections / max(result.seconds, 0.001),
      packets: (try packets(cluster) - packetsBefore) / connections,
      distributor: (used.roles["distributor"] ?? 0) * 1e6 / connections, machine: used.machine * 1e6 / connections,
      errors: result.errors)
  }

  private func packets(_ cluster: Cluster) throws(LabError) -> Double {
    // Counters are published every 50 ms; the difference is small against seconds of load.
    var sum = 0.0
    for node in cluster.nodes where node.plan.isDistributor {
      sum += try cluster.metrics(of: node)["handoff_distributor_packets_received_total"]
    }
    return sum
  }

  private static func median(_ rows: [Row]) -> Row {
    func middle(_ value: (Row) -> Double) -> Double { rows.map(value).sorted()[rows.count / 2] }
    return Row(
      variant: rows[0].variant, connectionsPerSecond: middle(\.connectionsPerSecond), packets: middle(\.packets),
      distributor: middle(\.distributor), machine: middle(\.machine), errors: rows.map(\.errors).reduce(0, +))
  }

  private func tenths(_ value: Double) -> Double { (value * 10).rounded() / 10 }
}
