// SPDX-License-Identifier: Apache-2.0

import Lab
public import LinuxKernel
import Synchronization

/// Ends the time for which connections are held open, from any thread.
public final class LoadStop: Sendable {
  private let flag = Atomic<Bool>(false)

  public init() {}

  public func stop() { flag.store(true, ordering: .relaxed) }
  public var isStopped: Bool { flag.load(ordering: .relaxed) }
}

/// Runs a plan in the calling thread's network namespace.
public enum LoadGenerator {
  /// Returns when all threads have ended.
  ///
  /// - Parameters:
  ///   - stop: ends a `hold` plan before its time.
  ///   - didOpenAll: called once from any thread when all connections of a `hold` plan are open, or were tried.
  public static func run(
    _ plan: LoadPlan, stop: LoadStop = LoadStop(), didOpenAll: @escaping @Sendable () -> Void = {}
  ) throws(SystemError) -> LoadReport {
    let table = RequestTable(plan)
    let contents = plan.verifiedSeed.map { seed in plan.paths.map { Content(seed: seed, name: $0.path) } } ?? []
    let outcome = Outcome()
    let cpuBefore = ProcessUsage.current().cpuSeconds
    let threads = (0..<plan.threads).map { thread in
      WorkerThread(name: "load-\(thread)") {
        do throws(SystemError) {
          var worker = try LoadWorker(plan, table: table, contents: contents, thread: thread)
          let report = worker.run(thread: thread, stop: stop) {
            if outcome.opened.add(1, ordering: .relaxed).newValue == plan.threads { didOpenAll() }
          }
          outcome.report.withLock { $0.merge(report) }
        } catch {
          outcome.failure.withLock { $0 = error }
        }
      }
    }
    for thread in threads { thread.join() }
    if let error = outcome.failure.withLock({ $0 }) { throw error }
    var report = outcome.report.withLock { $0 }
    report.cpuSeconds = ProcessUsage.current().cpuSeconds - cpuBefore
    return report
  }

  private final class Outcome: Sendable {
    let report = Mutex(LoadReport())
    let failure = Mutex<SystemError?>(nil)
    let opened = Atomic<Int>(0)
  }
}
