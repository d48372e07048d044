// SPDX-License-Identifier: Apache-2.0

import Foundation
import LinuxKernel
import Testing

@testable import ClusterControl

@Suite struct CalibrateTests {
  private static func curve(_ points: [(Int, Double)]) -> DelayCurve {
    DelayCurve(
      levels: points.map {
        DelayCurve.Level(connections: $0.0, throughput: $0.1, meanDelay: 1, delay99: 2, failures: 0)
      })
  }

  struct Case: Sendable, CustomStringConvertible {
    var description: String
    var points: [(Int, Double)]
    var delay = 50.0
    var low: Int
    var high: Int
    var isOpenEnded = false
  }

  static let cases: [Case] = [
    Case(description: "one core, cached", points: [(1, 500), (2, 950), (4, 1000), (8, 1000)], low: 2, high: 52),
    Case(
      description: "disk-bound: more requests at a time help the elevator",
      points: [(1, 30), (4, 60), (16, 90), (32, 100), (64, 98)], delay: 400, low: 16, high: 56),
    Case(description: "in any order", points: [(8, 1000), (1, 100), (4, 990)], low: 4, high: 54),
    Case(description: "at least one apart", points: [(1, 1)], low: 1, high: 2, isOpenEnded: true),
    Case(description: "still growing", points: [(1, 10), (2, 20), (4, 40)], low: 4, high: 6, isOpenEnded: true),
    Case(description: "a level without answers", points: [(1, 0), (2, 100)], low: 2, high: 7, isOpenEnded: true),
  ]

  @Test(arguments: cases)
  func thresholds(_ item: Case) {
    let result = Self.curve(item.points).thresholds(acceptableDelay: item.delay)
    #expect(result?.low == item.low && result?.high == item.high && result?.isOpenEnded == item.isOpenEnded)
  }

  @Test func nothingServed() {
    #expect(Self.curve([]).thresholds(acceptableDelay: 50) == nil)
    #expect(Self.curve([(1, 0), (2, 0)]).thresholds(acceptableDelay: 50) == nil)
  }

  /// The program against a server that runs: the admin server of a dispatcher.
  @Test func measuresAServer() async throws {
    let node = try RunningNode(["-D"])
    _ = try await node.notification(with: "READY=1")
    let result = try await RunningNode.run(
      ["calibrate", "\(node.admin)", "--path", "/metrics", "--connections", "4", "--seconds", "0.1", "--json"],
      program: "clusterctl")
    #expect(result.status == .exited(0), "\(result.output)")
    let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
    let low = try #require(object?["t_low"] as? Int)
    let high = try #require(object?["t_high"] as? Int)
    #expect((1...4).contains(low) && high > low)
    let levels = try #require(object?["levels"] as? [[String: Any]])
    #expect(levels.map { $0["connections"] as? Int } == [1, 2, 3, 4])
    #expect(levels.allSatisfy { ($0["requests_per_second"] as? Double ?? 0) > 0 && $0["failed"] as? Int == 0 })
    let wrong = try await RunningNode.run(
      ["calibrate", "\(node.admin)", "--path", "/nothing", "--connections", "2", "--seconds", "0.05"],
      program: "clusterctl")
    #expect(wrong.status == .exited(1) && wrong.output.contains("answered no request with success"))
    node.signal(.terminate)
    #expect(try await node.end() == .exited(0))
  }
}
