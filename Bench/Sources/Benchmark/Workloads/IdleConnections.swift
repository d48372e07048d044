// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Load

/// Connections that have carried one request and stay open: what each costs in memory.
struct IdleConnections {
  struct Result: Sendable, Codable {
    var asked: Int
    var open: Int
    var failures: [String: Int]
    /// Resident bytes per connection by role.
    var bytes: [String: Double]
    /// By how much the machine's available memory fell for each connection: with sockets and tables of the kernel, and
    /// the client's part.
    var machineBytes: Double

    var line: String {
      let roles = bytes.sorted { $0.key < $1.key }.map { "\($0.key) \(Int($0.value))" }.joined(separator: ", ")
      return "\(open) of \(asked) open, bytes per connection: \(roles), machine \(Int(machineBytes)) \(failures)"
    }
  }

  /// A process may have 20,000 descriptors on many machines, and a relay needs two for each connection.
  private static let perProcess = 12_500

  private let running: RunningSystem
  private let documents: Documents
  private let count: Int

  init(_ running: RunningSystem, _ documents: Documents, count: Int) {
    self.running = running
    self.documents = documents
    self.count = count
  }

  func run() throws(LabError) -> Result {
    guard let workload = Workload.all.first(where: { $0.name == "kept-alive-1KB" }) else {
      throw LabError("no workload")
    }
    let memoryBefore = running.accounting.memory()
    let machineBefore = Machine.availableMemory()
    let copies = (count + Self.perProcess - 1) / Self.perProcess
    let load = try LoadProcess(
      running.cluster,
      try documents.options(for: workload) + [
        "--hold", "--connections", "\(count / copies)", "--seconds", "2", "--timeout", "10",
      ], copies: copies)
    _ = load.waitUntilHolding(within: 60)
    let memory = running.accounting.memory()
    let machine = machineBefore - Machine.availableMemory()
    let report = try load.finish(within: 60)
    let open = Double(max(1, report.open))
    var bytes: [String: Double] = [:]
    for (role, after) in memory { bytes[role] = Double(after - (memoryBefore[role] ?? 0)) / open }
    return Result(
      asked: count, open: report.open, failures: report.failures, bytes: bytes, machineBytes: Double(machine) / open)
  }
}
