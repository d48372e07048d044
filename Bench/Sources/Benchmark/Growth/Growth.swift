// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
public import Lab
import LinuxKernel
import Load

/// Connections per second with 1, 2, 4, ... server nodes, each held to the same small share of a processor, so that the
/// nodes are the limit and not the machine.
public struct Growth: Sendable {
  public var nodes = [1, 2, 4, 8, 16]
  /// Share of one processor that each node has, whatever runs on it.
  public var capacity = 0.04
  public var seconds = 4.0
  /// Options of cluster_startup, each with its value.
  public var options: [String] = []

  public init() {}

  /// Seconds of processor time for one connection, on all nodes of a kind together.
  public struct Spent: Sendable, Codable {
    public var front: Double
    public var server: Double
    public var dispatcher: Double
  }

  public struct Point: Sendable, Codable {
    public var arrangement: GrowthModel.Arrangement
    public var nodes: Int
    public var rate: Double
    public var errors: Int
    public var spent: Spent
    /// Share of its capacity that the front used.
    public var frontShare: Double
    /// Share of the machine's processors that all programs used: near 1 the machine was the limit.
    public var machineShare: Double
  }

  /// Of a result, what was measured.
  public struct Measured: Sendable, Codable {
    public var capacity: Double
    public var points: [Point]
  }

  public struct Result: Sendable, Codable {
    public var capacity: Double
    public var points: [Point]
    public var model: GrowthModel
  }

  public func run(_ progress: (String) -> Void) throws(LabError) -> Result {
    ControlGroup.removeEmpty()
    let home = try LabRun()
    defer { home.end() }
    try Command.run(["chmod", "755", home.folder]).checked()
    let documents = try Documents(below: home.folder)
    var points: [Point] = []
    for count in nodes {
      for arrangement in GrowthModel.Arrangement.allCases {
        let point = try measure(arrangement, count, documents)
        points.append(point)
        progress(
          "\(count) nodes, \(arrangement.rawValue): \(Int(point.rate))/s, front at \(hundredths(point.frontShare)) of its share, "
            + "machine at \(hundredths(point.machineShare)), \(point.errors) errors")
      }
    }
    return Growth.fit(points, capacity: capacity)
  }

  /// Draws the model again from points that were measured before.
  public static func fit(_ points: [Point], capacity: Double) -> Result {
    var costs: [GrowthModel.Arrangement: GrowthModel.Costs] = [:]
    for arrangement in GrowthModel.Arrangement.allCases {
      let own = points.filter { $0.arrangement == arrangement }
      if own.isEmpty { continue }
      func fit(_ cost: (Spent) -> Double, nodes: (Point) -> Double) -> GrowthModel.Cost {
        GrowthModel.Cost(
          fitting: own.map { point in
            let rate = point.rate / nodes(point)
            return (rate, rate * cost(point.spent))
          })
      }
      costs[arrangement] = GrowthModel.Costs(
        front: arrangement == .distributedFront
          ? nil
          : fit {
            $0.front
          } nodes: { _ in
            1
          },
        server: fit {
          $0.server
        } nodes: {
          Double($0.nodes)
        },
        dispatcher: arrangement == .relay
          ? nil
          : fit {
            $0.dispatcher
          } nodes: { _ in
            1
          })
    }
    return Result(capacity: capacity, points: points, model: GrowthModel(capacity: capacity, costs: costs))
  }

  private func plan(_ arrangement: GrowthModel.Arrangement, _ count: Int, _ documents: Documents) -> ClusterPlan {
    let system = arrangement == .relay ? BenchSystem.haproxy : BenchSystem.handoff
    var plan = system.plan(servers: count, fronts: 1, documents: documents.folder)
    if arrangement == .distributedFront {
      plan.nodes = (1...count).map { ClusterPlan.Node("be\($0)", distributor: true, server: .nginx) }
      plan.nodes.append(ClusterPlan.Node("dispatcher", dispatcher: true))
    }
    if arrangement != .relay { plan.add(options) }
    return plan
  }

  private func measure(
    _ arrangement: GrowthModel.Arrangement, _ count: Int, _ documents: Documents
  ) throws(LabError) -> Point {
    let cluster = try Cluster.start(plan(arrangement, count, documents), site: Site(seed: Documents.seed, pages: []))
    var groups: [String: [ControlGroup]] = [:]
    defer {
      _ = cluster.stop()
      for group in groups.values.joined() { group.remove() }
    }
    for node in cluster.nodes {
      guard let group = ControlGroup("ho-\(cluster.run.id)-\(node.name)", limit: capacity) else {
        throw LabError("no control group with a limit of processor time can be made below /sys/fs/cgroup")
      }
      let role = node.web != nil ? "server" : node.plan.isDistributor ? "front" : "dispatcher"
      groups[role, default: []].append(group)
      for pid in ProcessTable.pids(inNamespace: node.namespace.name) { group.add(pid) }
    }
    guard let workload = Workload.all.first(where: { $0.name == "new-8KB" }) else { throw LabError("no workload") }
    let options = try documents.options(for: workload) + ["--connections", "\(16 * count)", "--timeout", "20"]
    _ = try LoadProcess(cluster, options + ["--seconds", "1"]).finish(within: 60)
    let before = groups.mapValues { $0.reduce(0) { $0 + $1.cpuSeconds() } }
    let machineBefore = Machine.busySeconds()
    let start = MonotonicTime.now()
    let report = try LoadProcess(cluster, options + ["--seconds", "\(seconds)"]).finish(within: seconds + 60)
    let wall = Double(MonotonicTime.now() &- start) / 1e9
    let used = groups.mapValues { $0.reduce(0) { $0 + $1.cpuSeconds() } }
    func cost(_ role: String) -> Double { ((used[role] ?? 0) - (before[role] ?? 0)) / Double(max(1, report.requests)) }
    return Point(
      arrangement: arrangement, nodes: count, rate: report.requestsPerSecond, errors: report.failed,
      spent: .init(front: cost("front"), server: cost("server"), dispatcher: cost("dispatcher")),
      frontShare: cost("front") * report.requestsPerSecond / capacity,
      machineShare: (Machine.busySeconds() - machineBefore) / wall / Double(Machine.processors))
  }
}
