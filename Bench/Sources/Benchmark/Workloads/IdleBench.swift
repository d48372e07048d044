// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Load

/// Connections that have carried one request and stay open: what each costs in memory at each role.
///
/// Each system is up alone: what the kernel's memory does meanwhile is its own. Where a process may have 20,000 descriptors
/// and that cannot be raised, there are so many fronts, server nodes and clients that this is enough: a proxy needs one for
/// each connection, an agent that relays needs two, a distributor none. Each front is dialled from an address of its own: an
/// agent that relays connects to its server from the client's address and port, which two fronts could have at once.
struct IdleBench {
  struct Result: Sendable, Codable {
    var asked: Int
    var open: Int
    var fronts: Int
    var serverNodes: Int
    var failures: [String: Int]
    /// Connections in the distributors' flow tables while all were open; nil where there are none.
    var liveFlows: Int?
    /// Before the first connection, by role.
    var fixed: [String: MemoryUse]
    /// With all connections, by role.
    var full: [String: MemoryUse]
    /// By how much the kernel's memory grew, all of it: both ends of all sockets, and tables.
    var kernelGrowth: Int

    /// Bytes of a role for each connection.
    func each(_ role: String) -> (user: Double, kernel: Double, maps: Double)? {
      guard let full = full[role] else { return nil }
      let growth = full.since(fixed[role] ?? MemoryUse())
      let count = Double(max(1, open))
      return (Double(growth.user) / count, Double(growth.kernel) / count, Double(growth.maps) / count)
    }

    var kernelBytesEach: Double { Double(kernelGrowth) / Double(max(1, open)) }

    var line: String {
      let roles = full.keys.sorted().compactMap { role in
        each(role).map { "\(role) \(Int($0.user)) + kernel \(Int($0.kernel)) + maps \(Int($0.maps))" }
      }
      return "\(open) of \(asked) open, bytes for each: \(roles.joined(separator: "; ")); kernel altogether "
        + "\(Int(kernelBytesEach)) \(failures)"
    }
  }

  let bench: Bench
  let documents: Documents

  private static let descriptors = 20_000
  /// Of a load generator's process.
  private static let perClient = 12_500
  /// Of a front: one descriptor for each, and some for connections to the servers.
  private static let perFront = 15_000
  /// Of a server node: two for each where an agent relays, and nodes do not have the same number.
  private static let perNode = descriptors / 2 - 2500

  static func name(_ count: Int) -> String { "idle-\(count)" }
  static func title(_ count: Int) -> String { "\(count) connections that stay open, 1 KB: opening them" }

  /// Nil when the name is of another workload.
  static func connections(of name: String) -> Int? {
    guard name.hasPrefix("idle-"), let count = Int(name.dropFirst(5)), (1...1_000_000).contains(count) else {
      return nil
    }
    return count
  }

  func run(_ result: inout BenchResult, _ progress: (String) -> Void) throws(LabError) {
    for system in bench.systems where system.isMade(for: Workload.idleGroup, alone: bench.aloneSystems) {
      if let reason = system.absence() {
        result.absent[system.name] = reason
        continue
      }
      let count = bench.idleConnections
      let fronts = max(bench.fronts, (count + Self.perFront - 1) / Self.perFront)
      let nodes = max(bench.servers, (count + Self.perNode - 1) / Self.perNode)
      var plan = system.plan(servers: nodes, fronts: fronts, documents: documents.folder)
      plan.clientAddresses = max(plan.clientAddresses, fronts)
      let running = try RunningSystem(system, plan)
      let accounts = MemoryAccounts(running)
      defer {
        result.complaints += running.stop()
        accounts.remove()
      }
      let (idle, sample) = try measure(running, accounts)
      result.idle[system.name] = idle
      result.add(sample, Self.name(count), system.name, 0)
      progress("\(Self.name(count)) \(system.name): \(idle.line)")
    }
  }

  private func measure(
    _ running: RunningSystem, _ accounts: MemoryAccounts
  ) throws(LabError) -> (Result, Sample) {
    guard let workload = Workload.all.first(where: { $0.name == "kept-alive-1KB" }) else {
      throw LabError("no workload")
    }
    let pages = try documents.options(for: workload)
    // What programs allocate once only is no connection's.
    let warm = ["--keep-alive", "--connections", "64", "--requests", "5000", "--seconds", "10"]
    _ = try LoadProcess(running.cluster, pages + warm).finish(within: 60)
    settle()
    let copies = (bench.idleConnections + Self.perClient - 1) / Self.perClient
    let each = (bench.idleConnections + copies - 1) / copies
    let fixed = accounts.now()
    let kernel = Machine.kernelMemory()
    let before = running.accounting.now()
    let load = try LoadProcess(
      running.cluster,
      pages + [
        "--hold", "--connections", "\(each)", "--open-within", "90", "--seconds", "120", "--timeout", "10",
        "--pair-sources",
      ], copies: copies)
    guard load.waitUntilHolding(within: 120) else {
      throw LabError("\(running.system.name): the clients did not come to hold \(each) connections each")
    }
    let usage = running.accounting.now().since(before)
    settle()
    let flows = try liveFlows(running)
    let full = accounts.now()
    let kernelGrowth = Machine.kernelMemory() - kernel
    load.release()
    let report = try load.finish(within: 60)
    let result = Result(
      asked: each * copies, open: report.open, fronts: running.cluster.nodes.count { $0.service != nil },
      serverNodes: running.cluster.nodes.count { $0.web != nil }, failures: report.failures, liveFlows: flows,
      fixed: fixed, full: full, kernelGrowth: kernelGrowth)
    return (result, Sample(report, usage))
  }

  /// Waits until the kernel's memory stands still: what was there before goes with some delay. Where other programs run it
  /// never does.
  private func settle() {
    var last = Machine.kernelMemory()
    for _ in 0..<10 {
      Pause.seconds(0.4)
      let now = Machine.kernelMemory()
      if abs(now - last) < 1 << 19 { return }
      last = now
    }
  }

  private func liveFlows(_ running: RunningSystem) throws(LabError) -> Int? {
    guard running.system.front == .handoff else { return nil }
    var sum = 0.0
    for node in running.cluster.nodes where node.service != nil {
      sum += try running.cluster.metrics(of: node)["handoff_distributor_live_flows"]
    }
    return Int(sum)
  }
}
