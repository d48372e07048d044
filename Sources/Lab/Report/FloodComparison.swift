// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Wire

/// Normal traffic beside a SYN flood from random sources, against the same traffic while the kernel merely drops the
/// flood at the same place, and without any flood.
public struct FloodComparison: Sendable {
  public enum Kind: String, CaseIterable, Codable, Sendable {
    case none, dropped, answered
  }

  /// One measurement.
  public struct Row: Codable, Sendable {
    public var kind: Kind
    /// Of normal traffic: new connections of 128 bytes.
    public var requestsPerSecond: Double
    public var errors: Int
    public var floodPerSecond: Double
    /// SYNs that got an answer, per second.
    public var answersPerSecond: Double
    /// Resident memory of the distributor's process afterwards.
    public var residentBytes: Double
  }

  public var rounds = 3
  public var seconds = 3.0
  public var distributorOptions: [String] = []

  public init() {}

  public func run(_ progress: (String) -> Void) throws(LabError) -> [Row] {
    let workload = LoadWorkload.small
    var plan = ClusterPlan(placement: .separate, distributors: 1, servers: [.nginx, .nginx])
    plan.logLevel = "warning"
    plan.distributorOptions = distributorOptions
    let cluster = try Cluster.start(plan, site: Site.generate(seed: 1, pages: 10))
    defer { _ = cluster.stop() }
    try workload.writePages(of: cluster)
    guard let front = cluster.nodes.first(where: { $0.plan.isDistributor }) else { throw LabError("no distributor") }
    let attacker = try cluster.fabric.attach("attacker", addresses: [LabAddresses.client(250)])
    // Answers to sources that nobody has: thrown away at the first place.
    try attacker.run(["tc", "qdisc", "add", "dev", "eth0", "clsact"]).checked()
    try attacker.run(
      ["tc", "filter", "add", "dev", "eth0", "ingress", "pref", "1", "bpf", "da", "bytecode", FloodComparison.drop(30)]
    ).checked()
    var rows: [Row] = []
    for round in 0..<rounds {
      for step in Kind.allCases.indices {
        let kind = Kind.allCases[(step + round) % Kind.allCases.count]
        let row = try measure(kind, cluster, front, attacker, workload, rows.count)
        progress(
          "round \(round + 1) \(kind.rawValue): \(Int(row.requestsPerSecond)) requests/s, \(row.errors) errors; flood "
            + "\(Int(row.floodPerSecond))/s, answered \(Int(row.answersPerSecond))/s, "
            + "\(Int(row.residentBytes) >> 20) MB resident")
        rows.append(row)
      }
    }
    return rows
  }

  private func measure(
    _ kind: Kind, _ cluster: Cluster, _ front: ClusterNode, _ attacker: NetworkNamespace,
    _ workload: LoadWorkload, _ number: Int
  ) throws(LabError) -> Row {
    let barrier =
      kind == .dropped ? try FloodBarrier.raise(in: front.namespace, orFilter: FloodComparison.drop(26)) : nil
    var flood: LabProcess?
    if kind != .none {
      guard let target = front.service else { throw LabError("\(front.name) serves nothing") }
      flood = try attacker.start(
        name: "flood",
        [
          "taskset", "-c", "1", try LabTools.path(of: "lab"), "syn-flood", "--target",
          "\(Endpoint(target.ipv4, cluster.plan.frontPort))", "--gateway", try address(of: front), "--seconds",
          "\(seconds + 1)",
        ], logFile: "\(cluster.run.folder)/flood-\(number).log")
    }
    let before = try answers(cluster, front)
    let result = try LoadGenerator(cluster: cluster, workload: workload, seconds: seconds).run(number: 1000 + number)
    let answered = try answers(cluster, front) - before
    var perSecond = 0.0
    if let flood {
      guard case .exited(0)? = flood.wait(seconds: seconds + 20) else {
        throw LabError("the flood did not end well: \(flood.log(last: 500))")
      }
      let words = flood.log().split(whereSeparator: \.isWhitespace)
      perSecond = words.last.flatMap { Double($0) } ?? 0
    }
    try barrier?.remove()
    return Row(
      kind: kind, requestsPerSecond: Double(result.requests) / max(result.seconds, 0.001), errors: result.errors,
      floodPerSecond: perSecond, answersPerSecond: answered / max(result.seconds, 0.001),
      residentBytes: try cluster.metrics(of: front)["process_resident_memory_bytes"])
  }

  /// Classic BPF that drops IPv4 frames with an address of the flood at `offset` and has no opinion of others.
  private static func drop(_ offset: Int) -> String {
    let (shot, unspecified) = (2, UInt32.max)
    return "7,40 0 0 12,21 0 4 2048,32 0 0 \(offset),84 0 0 \(UInt32(0xfffe_0000)),21 0 1 \(SynFlood.sources),"
      + "6 0 0 \(shot),6 0 0 \(unspecified)"
  }

  private func answers(_ cluster: Cluster, _ front: ClusterNode) throws(LabError) -> Double {
    let metrics = try cluster.metrics(of: front)
    return metrics["handoff_forwarding_packets_total", ["outcome": "syn_answered"]]
      + metrics["handoff_distributor_packets_total", ["outcome": "syn_cookie_sent"]]
      + metrics["handoff_distributor_packets_total", ["outcome": "syn_accepted"]]
  }

  private func address(of front: ClusterNode) throws(LabError) -> String {
    let words = try front.namespace.run(["ip", "-o", "link", "show", "eth0"]).checked().output.split(separator: " ")
    guard let index = words.firstIndex(of: "link/ether"), index + 1 < words.count else {
      throw LabError("eth0 of \(front.name) has no Ethernet address")
    }
    return String(words[index + 1])
  }
}
