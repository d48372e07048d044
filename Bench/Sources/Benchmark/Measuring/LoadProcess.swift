// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import Lab
import LinuxKernel
import Load

/// The load generator as a process in a cluster's client namespace.
struct LoadProcess {
  private let processes: [LabProcess]
  private let reports: [String]

  /// Starts it.
  ///
  /// - Parameters:
  ///   - copies: processes, for more connections than one may have descriptors.
  ///   - seed: of what is chosen at random; another one for each copy.
  init(_ cluster: Cluster, _ options: [String], copies: Int = 1, seed: Int = 1) throws(LabError) {
    let program = try LoadProcess.program()
    let endpoints = cluster.endpoints.map { "\($0)" }
    let sources = cluster.clientAddresses.flatMap { ["--source", "\($0.ipv4)"] }
    var processes: [LabProcess] = []
    var reports: [String] = []
    for copy in 0..<copies {
      let report = "\(cluster.run.folder)/load-\(copy).json"
      processes.append(
        try cluster.client.start(
          name: "load", [program] + endpoints + sources + options + ["--report", report, "--seed", "\(seed + copy)"],
          logFile: "\(cluster.run.folder)/load-\(copy).log"))
      reports.append(report)
    }
    self.processes = processes
    self.reports = reports
  }

  /// Beside the running program.
  static func program() throws(LabError) -> String {
    let path = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    let program = "\(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])/load"
    guard FileManager.default.fileExists(atPath: program) else { throw LabError("there is no \(program): build it") }
    return program
  }

  /// Waits until every process holds all its connections open; false when one ended before.
  func waitUntilHolding(within seconds: Double) -> Bool {
    let held = try? Eventually.within(seconds) {
      processes.map { $0.log().contains("holding") }
    } until: { all in
      all.allSatisfy { $0 }
    }
    return held != nil
  }

  /// Ends the time for which connections are held.
  func release() {
    for process in processes { process.signal(SIGTERM) }
  }

  /// Waits for the end and tells what all of them saw together.
  func finish(within seconds: Double) throws(LabError) -> LoadReport {
    var sum = LoadReport()
    for (process, report) in zip(processes, reports) {
      guard let status = process.wait(seconds: seconds) else {
        throw LabError("the load generator did not end within \(seconds) s: \(process.log(last: 500))")
      }
      // Status 1 says that requests failed, which the report tells too.
      guard case .exited(let code) = status, code <= 1 else {
        throw LabError("the load generator ended with \(status): \(process.log(last: 500))")
      }
      do {
        sum.merge(try JSONDecoder().decode(LoadReport.self, from: Data(try FileAccess.read(report))))
      } catch {
        throw LabError("the load generator left no report: \(error); it said: \(process.log(last: 500))")
      }
    }
    return sum
  }
}
