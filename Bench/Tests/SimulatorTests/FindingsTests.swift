// SPDX-License-Identifier: Apache-2.0

import DispatcherCore
import Foundation
import Simulator
import Testing

/// What the papers found, found again with the dispatcher's own policies on a generated workload.
@Suite("Findings of the papers")
struct FindingsTests {
  /// 21 MB of 2000 targets: several times one node's cache of 2 MB.
  static let workload: Workload = {
    var shape = Workload.Shape()
    shape.targets = 2000
    shape.requests = 15_000
    return .generated(name: "zipf", shape, seed: 3)
  }()

  private func run(
    _ policy: PolicyName, nodes: Int, _ workload: Workload = FindingsTests.workload,
    _ change: (inout ClusterSimulation.Parameters) -> Void = { _ in }
  ) -> SimulationResult {
    var parameters = ClusterSimulation.Parameters()
    parameters.nodes = nodes
    parameters.cacheBytes = 2 << 20
    change(&parameters)
    var simulation = ClusterSimulation(workload, .dispatcher(policy), parameters)
    return simulation.run()
  }

  @Test("LARD gives at least twice the throughput of content-blind distribution", arguments: [8, 16])
  func throughput(nodes: Int) {
    let blind = max(
      run(.weightedRoundRobin, nodes: nodes).throughput, run(.leastConnections, nodes: nodes).throughput)
    #expect(run(.lard, nodes: nodes).throughput > 2 * blind)
  }

  @Test("misses stay with content-blind distribution and vanish with LARD as nodes are added")
  func missRatio() {
    let blind = [2, 8].map { run(.leastConnections, nodes: $0).missRatio }
    let lard = [2, 8].map { run(.lard, nodes: $0).missRatio }
    #expect(blind[1] > 0.8 * blind[0])
    #expect(lard[1] < 0.5 * lard[0])
  }

  @Test("hashing misses as little as LARD and leaves more nodes idle")
  func idle() {
    let hash = run(.hash, nodes: 8)
    let lard = run(.lard, nodes: 8)
    #expect(hash.missRatio < 1.3 * lard.missRatio + 0.02)
    #expect(hash.idle > 2 * lard.idle)
    #expect(lard.throughput > hash.throughput)
  }

  @Test("when one target is hotter than a node, replication helps")
  func flashCrowd() {
    var shape = Workload.Shape()
    shape.targets = 2000
    shape.requests = 15_000
    shape.flashCrowd = 0.6
    let workload = Workload.generated(name: "crowd", shape, seed: 3)
    #expect(run(.replicatedLARD, nodes: 8, workload).throughput > run(.lard, nodes: 8, workload).throughput)
  }

  @Test("persistent connections cost locality unless each request is placed")
  func persistentConnections() {
    func throughput(_ policy: PolicyName, _ persistence: ClusterSimulation.Persistence) -> Double {
      run(policy, nodes: 8) { $0.persistence = persistence }.throughput
    }
    let separate = throughput(.lard, .none)
    let single = throughput(.lard, .singleHandoff)
    let perRequest = throughput(.extendedLARD, .perRequest)
    #expect(single < 0.9 * separate)
    #expect(perRequest > 1.2 * single)
    #expect(perRequest > 2 * throughput(.leastConnections, .singleHandoff))
  }

  @Test("a set that grows in each target's own order brings at least what LARD/R does, and more after a failure")
  func anchored() {
    let replicated = run(.replicatedLARD, nodes: 8)
    let anchored = run(.anchoredLARD, nodes: 8)
    #expect(anchored.throughput > 0.97 * replicated.throughput)
    let failing = run(.anchoredLARD, nodes: 8) { $0.failingNode = 1 }
    let other = run(.replicatedLARD, nodes: 8) { $0.failingNode = 1 }
    #expect(failing.throughput > 0.97 * other.throughput)
  }

  /// What a run is subjected to.
  enum Hardship {
    case none, failure, crowd
  }

  /// Independent requests with a fixed popularity are the best case of hashing: there is nothing to adapt to.
  @Test(
    "replicating policies keep up with bounded-load hashing at its best factor, and beat it in a crowd",
    arguments: [(Hardship.none, 1.0), (.failure, 0.96), (.crowd, 1.02)])
  func againstBoundedHash(_ hardship: Hardship, atLeast ratio: Double) {
    let workload = hardship == .crowd ? FindingsTests.workload.withFlashCrowd(0.5, seed: 1) : FindingsTests.workload
    func throughput(_ distribution: Distribution) -> Double {
      var parameters = ClusterSimulation.Parameters()
      parameters.cacheBytes = 1 << 20
      parameters.passes = 4
      if hardship == .failure { parameters.failingNode = 0 }
      var simulation = ClusterSimulation(workload, distribution, parameters)
      return simulation.run().throughput
    }
    let bounded = [110, 125, 150, 200, 400].map { throughput(.boundedHash(factorPercent: $0)) }.max() ?? 0
    #expect(throughput(.dispatcher(.replicatedLARD)) > ratio * bounded)
    #expect(throughput(.dispatcher(.anchoredLARD)) > ratio * bounded)
  }

  @Test("nobody works for more than all of the time, and what binds a cluster is busy nearly all of it")
  func utilisation() {
    for failing in [nil, 1] {
      for policy in PolicyName.allCases {
        let result = run(policy, nodes: 4) { $0.failingNode = failing }
        #expect((0...1).contains(result.processorBusy) && (0...1).contains(result.diskBusy), "\(policy): \(result)")
      }
    }
    // One node whose cache holds a tenth of the targets waits for its disk; with all of them cached, for its processor.
    #expect(run(.lard, nodes: 1).diskBusy > 0.99)
    #expect(run(.lard, nodes: 1) { $0.cacheBytes = 64 << 20 }.processorBusy > 0.99)
  }

  @Test("another seed places targets elsewhere, and the findings stay")
  func seeds() {
    let results = (0..<3).map { seed in run(.hash, nodes: 8) { $0.seed = seed } }
    #expect(Set(results).count == 3)
    for seed in 1..<4 as Range<UInt64> {
      let blind = run(.leastConnections, nodes: 8) { $0.seed = seed }
      #expect(run(.lard, nodes: 8) { $0.seed = seed }.throughput > 2 * blind.throughput, "seed \(seed)")
    }
  }

  @Test("the table of all policies is as it was")
  func goldenTable() throws {
    var text = ""
    for name in PolicyName.allCases {
      for nodes in [1, 4, 8, 16] {
        let result = run(name, nodes: nodes)
        text +=
          "\(name.rawValue) \(nodes) " + String(format: "%.0f req/s", result.throughput)
          + String(format: " miss %.1f %%", result.missRatio * 100)
          + String(format: " idle %.1f %%", result.idle * 100)
          + String(format: " cpu %.1f %%", result.processorBusy * 100)
          + String(format: " disk %.1f %%\n", result.diskBusy * 100)
      }
    }
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "Golden/policies.txt")
    if ProcessInfo.processInfo.environment["GOLDEN_UPDATE"] == "1" {
      try text.write(to: file, atomically: true, encoding: .utf8)
    }
    #expect(text == (try String(contentsOf: file, encoding: .utf8)))
  }

  @Test("when everything fits into one cache, LARD costs nothing")
  func everythingFits() {
    func throughput(_ policy: PolicyName) -> Double {
      run(policy, nodes: 4) { $0.cacheBytes = 64 << 20 }.throughput
    }
    #expect(throughput(.lard) > 0.97 * throughput(.leastConnections))
  }

  @Test("a faster processor helps LARD and not round robin")
  func fasterProcessor() {
    // The caches of all nodes together hold everything, one of them does not.
    func throughput(_ policy: PolicyName, speed: UInt64) -> Double {
      run(policy, nodes: 8) {
        $0.cacheBytes = 4 << 20
        $0.passes = 3
        $0.costs.processorSpeed = speed
      }.throughput
    }
    func gain(_ policy: PolicyName) -> Double { throughput(policy, speed: 2) / throughput(policy, speed: 1) }
    let lard = gain(.lard)
    let blind = gain(.leastConnections)
    #expect(blind < 1.1)
    #expect(lard > blind + 0.2)
  }

  @Test("the same run gives the same numbers, also when a node fails")
  func determinism() {
    let first = run(.replicatedLARD, nodes: 4) { $0.failingNode = 1 }
    let second = run(.replicatedLARD, nodes: 4) { $0.failingNode = 1 }
    #expect(first == second)
    #expect(first.broken > 0)
    #expect(first.completed + first.broken >= FindingsTests.workload.requests.count - 219)
  }

  @Test("both trace formats are read")
  func formats() {
    let log =
      "time_s\tclient\tmethod\turl\tstatus\tbytes\n1\t1\tGET\t/a\t200\t10\n1\t1\tGET\t/a\t200\t12\n"
      + "1\t1\tGET\t/b\t404\t5\n1\t1\tHEAD\t/c\t200\t0\n1\t1\tGET\t/d\t200\t7\n"
    let access = Workload.accessLog(name: "log", lines: log.split(separator: "\n"))
    #expect(access.requests == [0, 0, 1] && access.sizes == [12, 7])
    let objects = Workload.objectLog(name: "objects", lines: "0 77 100\n1 78 200\n2 77 100\n".split(separator: "\n"))
    #expect(objects.requests == [0, 1, 0] && objects.sizes == [100, 200])
  }
}
