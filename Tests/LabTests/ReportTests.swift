// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Testing
import Wire

@Suite struct ReportTests {
  static let text = """
    # HELP x_total Help
    # TYPE x_total counter
    x_total{worker="0",outcome="accepted"} 3
    x_total{worker="1",outcome="accepted"} 4
    x_total{worker="0",outcome="lost"} 1
    y 2.5
    t_bucket{le="0.001"} 10
    t_bucket{le="0.002"} 30
    t_bucket{le="+Inf"} 40
    """

  @Test func metricsAreSummedOverLabels() {
    let metrics = Metrics(parsing: Self.text)
    #expect(metrics["x_total"] == 8)
    #expect(metrics["x_total", ["outcome": "accepted"]] == 7)
    #expect(metrics["y"] == 2.5)
    #expect(metrics["absent"] == 0)
  }

  @Test func quantilesAreInterpolated() throws {
    let metrics = Metrics(parsing: Self.text)
    #expect(abs(try #require(metrics.quantile(0.125, of: "t")) - 0.0005) < 1e-9)
    #expect(abs(try #require(metrics.quantile(0.5, of: "t")) - 0.0015) < 1e-9)
    #expect(metrics.quantile(0.99, of: "t") == 0.002)
    #expect(metrics.quantile(0.5, of: "absent") == nil)
  }

  /// Processes that have the same samples must not be subtracted from each other.
  @Test func differencesAreTakenProcessByProcess() {
    let before = Metrics.merging(["a": Metrics(parsing: "x 1\n"), "b": Metrics(parsing: "x 2\n")])
    let after = Metrics.merging(["a": Metrics(parsing: "x 5\n"), "b": Metrics(parsing: "x 7\n")])
    #expect(after.since(before)["x"] == 9)
    #expect(after.since(before)["x", ["node": "b"]] == 5)
  }

  @Test func localityFollowsThePathsLastNode() throws {
    let address = try #require(IPAddress("10.77.2.1"))
    func record(_ time: Double, _ port: UInt16, _ path: String) -> AccessRecord {
      AccessRecord(time: time, client: Endpoint(address, port), method: "GET", path: path, status: 200)
    }
    let placement = Placement([
      "be1": [record(1, 1, "/a"), record(3, 2, "/a"), record(6, 3, "/b")],
      "be2": [record(2, 4, "/b"), record(4, 5, "/a"), record(5, 5, "/b")],
    ]) { _ in true }
    #expect(placement.requests == ["be1": 3, "be2": 3])
    #expect(placement.all.repeated == 4)
    #expect(placement.all.sameNode == 2)
    #expect(placement.first.repeated == 3)
    #expect(placement.first.sameNode == 1)
  }

  @Test func latencyQuantilesAreNearestRank() {
    var latencies = Latencies()
    #expect(latencies.quantiles([0.5, 0.99]) == [0, 0])
    for value in 1...100 { latencies.add(nanoseconds: UInt64(101 - value) * 1000) }
    #expect(latencies.quantiles([0.01, 0.5, 0.99, 1]) == [1, 50, 99, 100])
  }
}
