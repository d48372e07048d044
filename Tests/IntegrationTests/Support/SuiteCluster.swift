// SPDX-License-Identifier: Apache-2.0

import Lab
import Synchronization
import Testing
import Wire

/// One cluster for all tests of a suite, started when the first of them wants it.
final class SuiteCluster: Sendable {
  @TaskLocal static var current: SuiteCluster?

  private let plan: ClusterPlan
  private let running = Mutex<Cluster?>(nil)
  /// Why it did not start: that would not change with another try.
  private let failure = Mutex<LabError?>(nil)

  init(_ plan: ClusterPlan) { self.plan = plan }

  static func cluster() throws -> Cluster {
    guard let current else { throw LabError("this suite lacks the trait .cluster") }
    return try current.running.withLock { running in
      if let cluster = running { return cluster }
      if let error = current.failure.withLock({ $0 }) { throw error }
      do {
        let cluster = try Cluster.start(current.plan, site: TestSite.site)
        running = cluster
        return cluster
      } catch {
        current.failure.withLock { $0 = LabError("\(error)") }
        throw error
      }
    }
  }

  func stop() {
    let cluster = running.withLock { $0.take() }
    if let cluster { #expect(cluster.stop() == []) }
  }
}

/// Gives the tests of a suite a cluster of their own.
struct SuiteClusterTrait: SuiteTrait, TestScoping {
  let plan: ClusterPlan

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    let own = SuiteCluster(plan)
    defer { own.stop() }
    try await SuiteCluster.$current.withValue(own) { try await function() }
  }
}

extension SuiteTrait where Self == SuiteClusterTrait {
  static func cluster(_ plan: ClusterPlan) -> SuiteClusterTrait { SuiteClusterTrait(plan: plan) }
}

extension ClusterPlan {
  /// One distributor, one nginx, and frames as a real wire carries them.
  static let onTheWire: ClusterPlan = {
    var plan = ClusterPlan(servers: [.nginx])
    plan.offloads = false
    plan.serve = ServeChoice.serve
    return plan
  }()
}

/// The two ways to the same web server of one cluster. The first proves that what a test expects is right.
enum Route: String, Sendable, CaseIterable, CustomTestStringConvertible {
  /// The client dials the web server itself.
  case direct
  /// The client dials the distributor.
  case handoff

  var testDescription: String { rawValue }

  /// IPv4 and IPv6.
  func endpoints(_ cluster: Cluster) throws -> [Endpoint] {
    switch self {
    case .direct:
      let address = try node(cluster).address
      return [Endpoint(address.ipv4, cluster.plan.serverPort), Endpoint(address.ipv6, cluster.plan.serverPort)]
    case .handoff: return [cluster.endpoints[0], cluster.endpoints6[0]]
    }
  }

  /// Who takes the client's first segment.
  func node(_ cluster: Cluster) throws -> ClusterNode { try cluster.node(self == .direct ? "be1" : "fe1") }
}
