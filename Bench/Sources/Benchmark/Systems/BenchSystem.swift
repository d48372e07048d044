// SPDX-License-Identifier: Apache-2.0

public import Lab

/// One thing that can stand between clients and server nodes, with how it is set up.
public struct BenchSystem: Sendable {
  /// What a system is to the report: the reference, a peer, or this project.
  public enum Kind: String, Sendable, Codable {
    /// No balancer: what one of zero cost would reach.
    case reference
    case peer
    /// Not a balancer by content: what the least work possible costs.
    case lowerBound = "lower_bound"
    case cluster
  }

  public var name: String
  public var kind: Kind
  /// The configuration in one paragraph: what was chosen, and where that is recommended.
  public var explanation: String
  /// Programs that must be installed.
  public var needs: [String] = []
  /// Words that `cluster_startup --help` must have.
  public var needsOptions: [String] = []
  public var front: ClusterPlan.Front
  public var program: (any LabProgram)?
  public var policy = "lard"
  /// Options of cluster_startup, each with its value; they are given to the nodes that have the role they are for.
  public var options: [String] = []
  /// The balancer cannot change the port: clients dial the servers' one.
  public var keepsPort = false
  /// Decides by the address only.
  public var seesContent = true
  /// The workloads that the system is made for, nil for all. All with caches have one name here, and all with idle
  /// connections.
  public var workloads: Set<String>?

  func isMade(for workload: String) -> Bool { workloads?.contains(workload) ?? true }

  /// The same for a group of workloads for which systems are up one at a time.
  func isMade(for group: String, alone: Set<String>?) -> Bool { isMade(for: group) && alone?.contains(name) ?? true }

  /// Why the system cannot be measured here, nil when it can.
  public func absence() -> String? {
    for program in needs {
      let found = try? Command.run(["sh", "-c", "command -v \(program)"])
      if found?.isSuccess != true { return "\(program) is not installed" }
    }
    if front == .handoff {
      guard let program = try? LabTools.path(of: "cluster_startup") else { return "cluster_startup is not built" }
      let help = (try? Command.run([program, "--help"]))?.output ?? ""
      for option in needsOptions where !help.contains(option) { return "cluster_startup has no \(option)" }
    }
    return nil
  }

  /// A cluster with this system in front of `servers` nginx nodes.
  public func plan(servers: Int, fronts: Int, documents: String) -> ClusterPlan {
    var plan = ClusterPlan(
      front: front, placement: .separate, distributors: fronts, servers: Array(repeating: .nginx, count: servers))
    plan.frontProgram = program
    plan.policy = policy
    plan.add(options)
    plan.logLevel = "warning"
    plan.servesIPv6 = false
    plan.hasApplication = false
    plan.documents = documents
    if keepsPort { plan.frontPort = plan.serverPort }
    return plan
  }
}

extension BenchSystem {
  public static let direct = BenchSystem(
    name: "direct", kind: .reference,
    explanation: """
      No balancer: clients spread their connections over the server nodes by themselves, in turn. What a balancer of zero \
      cost would reach; it has no locality.
      """, front: .direct)

  /// This cluster with the options it has by default: what the kernel can take over, it does.
  public static let handoff = BenchSystem(
    name: "handoff", kind: .cluster,
    explanation: "This cluster: a dispatcher with LARD, distributors, an agent on each server node; default options.",
    front: .handoff)

  /// This cluster with other options, given as `NAME=--option,value,...`.
  public static func mode(_ text: String) -> BenchSystem? {
    guard let split = text.firstIndex(of: "=") else { return nil }
    let options = text[text.index(after: split)...].split(separator: ",").map(String.init)
    guard text.startIndex < split, !options.isEmpty, options.count % 2 == 0 else { return nil }
    return handoff(String(text[..<split]), options)
  }

  private static func handoff(_ name: String, _ options: [String]) -> BenchSystem {
    var system = handoff
    system.name = "handoff-\(name)"
    system.explanation = "This cluster with `\(options.joined(separator: " "))`."
    system.options = options
    system.needsOptions = options.filter { $0.hasPrefix("--") }
    return system
  }

  /// The ways of working that every kernel allows: connections recreated and relayed by the agent; handshakes answered in
  /// user space from a packet queue.
  static let modes = [
    handoff("repair", ["--serve-mode", "repair"]), handoff("user", ["--handshake", "user", "--packets", "queue"]),
  ]

  /// All that the bench knows, in the order of the report.
  public static let all: [BenchSystem] =
    [
      direct, .layer4, .haproxy, .haproxySplice, .nginx, .varnish, .trafficServer, handoff,
    ] + modes
}

extension ClusterPlan {
  private static let ofDistributors: Set<String> = [
    "--handshake", "--packets", "--tunnel", "--head-timeout", "--queue-number",
  ]

  /// Gives options with their values to the nodes that know them.
  mutating func add(_ options: [String]) {
    for start in stride(from: 0, to: options.count - 1, by: 2) {
      let pair = [options[start], options[start + 1]]
      if pair[0] == "--serve-mode" {
        serve = pair[1]
      } else if Self.ofDistributors.contains(pair[0]) {
        distributorOptions += pair
      } else {
        extraOptions += pair
      }
    }
  }
}
