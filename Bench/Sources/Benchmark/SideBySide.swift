// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel

/// All systems up together, measured in turn.
struct SideBySide {
  let bench: Bench
  let documents: Documents
  let workloads: [Workload]
  let rounds: Int
  var offloads = true

  func run(_ result: inout BenchResult, _ progress: (String) -> Void) throws(LabError) {
    var running: [RunningSystem] = []
    defer { for system in running { result.complaints += system.stop() } }
    for system in bench.systems {
      do {
        if let reason = system.absence() { throw LabError(reason) }
        running.append(try start(system))
        progress("\(system.name) is up, 2000 answers checked byte by byte")
      } catch {
        result.absent[system.name] = "\(error)"
        progress("\(system.name) is absent: \(error)")
      }
    }
    for round in 0..<rounds {
      for workload in workloads {
        let fitting = running.filter { $0.system.isMade(for: workload.base) }
        for step in fitting.indices {
          // Forwards and backwards in turn, beginning at another one each time.
          let place = round % 2 == 0 ? step : fitting.count - 1 - step
          let system = fitting[(place + round) % fitting.count]
          let options = try documents.options(for: workload) + result.options(for: workload)
          let sample = try system.measure(options, seconds: bench.seconds * workload.length)
          result.add(sample, workload.name, system.system.name, round)
          progress(
            "round \(round + 1) \(workload.name) \(system.system.name): \(Int(sample.requestsPerSecond))/s, "
              + "\(Int(sample.cpuMicroseconds)) us per request, \(sample.errors) errors")
        }
      }
    }
    if offloads { for system in running { try measureOnce(system, &result, progress) } }
  }

  private func start(_ system: BenchSystem) throws(LabError) -> RunningSystem {
    var plan = system.plan(servers: bench.servers, fronts: bench.fronts, documents: documents.folder)
    plan.offloads = offloads
    let started = try RunningSystem(system, plan)
    if let wrong = try started.verify(documents.verification(), requests: 2000) {
      _ = started.stop()
      throw LabError("checking bytes: \(wrong)")
    }
    return started
  }

  /// What is measured without rounds, because it is counted rather than timed.
  private func measureOnce(
    _ system: RunningSystem, _ result: inout BenchResult, _ progress: (String) -> Void
  ) throws(LabError) {
    let name = system.system.name
    if bench.churnSeconds > 0 {
      let churn = try Churn(system, documents, seconds: bench.churnSeconds).run()
      result.churn[name] = churn
      progress("churn \(name): \(churn.line)")
    }
  }
}
