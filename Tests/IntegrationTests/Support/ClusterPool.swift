// SPDX-License-Identifier: Apache-2.0

import Lab
import Synchronization
import Testing

/// Starts each cluster when a test first wants it, and stops them all when the suite is over.
final class ClusterPool: Sendable {
  /// The pool of the suite that is running.
  @TaskLocal static var current: ClusterPool?

  private let clusters = Mutex<[Stage: Cluster]>([:])

  static func cluster(_ stage: Stage) throws -> Cluster {
    guard let current else { throw LabError("this suite lacks the trait .clusters") }
    return try current.clusters.withLock { clusters in
      if let cluster = clusters[stage] { return cluster }
      let cluster = try Cluster.start(stage.plan, site: TestSite.site)
      try TestSite.addFixtures(to: cluster)
      clusters[stage] = cluster
      return cluster
    }
  }

  func stopAll() {
    let all = clusters.withLock { clusters in
      defer { clusters.removeAll() }
      return clusters
    }
    for (stage, cluster) in all {
      let complaints = cluster.stop()
      #expect(complaints == [], "\(stage.testDescription)")
    }
  }
}

/// Gives the tests of a suite their clusters.
struct ClusterTrait: SuiteTrait, TestScoping {
  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    let pool = ClusterPool()
    defer { pool.stopAll() }
    try await ClusterPool.$current.withValue(pool) { try await function() }
  }
}

extension SuiteTrait where Self == ClusterTrait {
  static var clusters: ClusterTrait { ClusterTrait() }
}

/// All suites of this target are parts of this one: one after the other, as they share a machine of two processors.
@Suite(.serialized) enum IntegrationTests {}
