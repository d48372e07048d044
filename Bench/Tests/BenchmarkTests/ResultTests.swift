// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Benchmark
@testable import Load

@Suite struct ResultTests {
  static func sample(rate: Double, cpu: Double, errors: Int = 0) -> Sample {
    var report = LoadReport()
    report.requests = Int(rate)
    report.seconds = 1
    if errors > 0 { report.failures = ["reset": errors] }
    var usage = UsageSnapshot()
    usage.roles = ["server": cpu * rate / 1e6]
    return Sample(report, usage)
  }

  /// The machine is twice as slow in the second round: ratios within rounds do not see it.
  static var result: BenchResult {
    var result = BenchResult(Bench())
    for (round, pace) in [1.0, 0.5, 0.9].enumerated() {
      result.add(sample(rate: 1000 * pace, cpu: 100 / pace), "new-8KB", "direct", round)
      result.add(sample(rate: 500 * pace, cpu: 200 / pace), "new-8KB", "haproxy", round)
      result.add(sample(rate: 400 * pace, cpu: 180 / pace), "new-8KB", "nginx", round)
      result.add(sample(rate: 800 * pace, cpu: 120 / pace, errors: round), "new-8KB", "handoff", round)
    }
    result.absent["varnish"] = "varnishd is not installed"
    return result
  }

  @Test func ratiosAreMediansWithinRounds() throws {
    let figure = try #require(Self.result.figure("new-8KB", "handoff"))
    #expect(figure.throughputRatioToDirect == 0.8)
    #expect(figure.cpuRatioToDirect == 1.2)
    #expect(figure.cpuRatioSpread == [1.2, 1.2])
    #expect(figure.throughputRatioToBestPeer == 1.6)
    #expect(figure.cpuRatioToBestPeer == 0.6)
    #expect(figure.errors == 3)
    #expect(Self.result.bestPeer("new-8KB") == "haproxy")
    #expect(Self.result.ownErrors == 3)
  }

  @Test func theLastLineHasEverySystem() throws {
    let line = try Self.result.line()
    #expect(!line.contains("\n"))
    let all = try #require(
      try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: [String: [String: Any]]])
    let systems = try #require(all["new-8KB"])
    #expect(systems["handoff"]?["cpu_ratio_to_direct"] as? Double == 1.2)
    #expect(systems["handoff"]?["throughput_ratio_to_direct"] as? Double == 0.8)
    #expect(systems["handoff"]?["errors"] as? Int == 3)
    #expect(systems["varnish"]?["absent"] as? String == "varnishd is not installed")
  }

  @Test func theRateOfAnOpenLoopFollowsFromTheReference() throws {
    let paced = try #require(Workload.all.first { $0.name == "paced-8KB" })
    #expect(Self.result.options(for: paced).suffix(2) == ["--rate", "180"])
  }
}

@Suite struct IdleTests {
  @Test(arguments: [
    ("pos:\t0\nflags:\t02000002\nmap_type:\t1\nmemlock:\t6800640\nmap_id:\t41\nfrozen:\t0\n", 41, 6_800_640),
    ("memlock:\t4096\nprog_id:\t7\n", nil, nil), ("", nil, nil), ("map_id:\tx\nmemlock:\t1\n", nil, nil),
  ])
  func mapsAreTold(text: String, id: Int?, bytes: Int?) {
    let map = MemoryAccounts.map(in: text)
    #expect(map?.id == id)
    #expect(map?.bytes == bytes)
  }

  @Test(arguments: [("idle-50000", 50_000), ("idle-0", nil), ("idle-", nil), ("idle", nil), ("new-8KB", nil)])
  func namesTellTheNumber(name: String, count: Int?) { #expect(Bench.idleConnections(of: name) == count) }

  @Test func bytesAreThoseAboveWhatWasThere() throws {
    let before = MemoryUse(user: 1_000_000, kernel: 100, maps: 17_000_000)
    let full = MemoryUse(user: 1_500_000, kernel: 400_100, maps: 17_136_000)
    let result = IdleBench.Result(
      asked: 1000, open: 1000, fronts: 2, serverNodes: 4, failures: [:], liveFlows: 1000, fixed: ["front": before],
      full: ["front": full], kernelGrowth: 8_000_000)
    let each = try #require(result.each("front"))
    #expect(each == (500, 400, 136))
    #expect(result.each("agent") == nil)
    #expect(result.kernelBytesEach == 8000)
  }
}

@Suite struct GrowthModelTests {
  /// 300 us at the front, 1500 us at a server: five server nodes saturate a front, as in the USENIX 2000 paper.
  static func each(_ microseconds: Double) -> GrowthModel.Cost { .init(base: 0, connection: microseconds / 1e6) }

  static let model = GrowthModel(
    capacity: 1,
    costs: [
      .singleFront: .init(front: each(300), server: each(1500), dispatcher: each(20)),
      .distributedFront: .init(front: nil, server: each(1800), dispatcher: each(20)),
      .relay: .init(front: each(750), server: each(1400), dispatcher: nil),
    ])

  @Test func aSingleFrontSaturates() {
    #expect(Int(Self.model.rate(.singleFront, nodes: 4)) == 2666)
    #expect(Int(Self.model.rate(.singleFront, nodes: 5)) == 3333)
    #expect(Int(Self.model.rate(.singleFront, nodes: 64)) == 3333)
    #expect(Int(Self.model.rate(.relay, nodes: 64)) == 1333)
  }

  @Test func aDistributedFrontGrowsAndOvertakes() {
    #expect(Int(Self.model.rate(.distributedFront, nodes: 64)) == 35_555)
    #expect(Self.model.crossover(of: .distributedFront, over: .singleFront) == 7)
    #expect(Self.model.crossover(of: .singleFront, over: .relay) == 3)
    #expect(Self.model.crossover(of: .relay, over: .distributedFront, limit: 1) == 1)
  }

  @Test func theDispatcherIsALimitToo() {
    #expect(Self.model.rate(.distributedFront, nodes: 1000).rounded() == 50_000)
  }

  @Test func theFitFindsBothPartsOfACost() {
    let cost = GrowthModel.Cost(fitting: [10, 20, 50, 80].map { (rate: $0, use: 0.004 + $0 * 150e-6) })
    #expect(abs(cost.base - 0.004) < 1e-9)
    #expect(abs(cost.connection - 150e-6) < 1e-12)
    // Falling with the rate can only be noise.
    let noise = GrowthModel.Cost(fitting: [(rate: 10, use: 0.02), (rate: 20, use: 0.01)])
    #expect(noise.base == 0)
    #expect(abs(noise.connection - 0.001) < 1e-12)
  }
}

@Suite struct HTMLReportTests {
  /// What is measured, what is absent and what failed is on the page; nothing is fetched from elsewhere.
  @Test func thePageHasEverything() throws {
    var result = ResultTests.result
    let use = MemoryUse(user: 1_000_000, kernel: 0, maps: 0)
    result.idle["direct"] = IdleBench.Result(
      asked: 10, open: 9, fronts: 0, serverNodes: 4, failures: ["reset": 1], liveFlows: nil, fixed: ["server": use],
      full: ["server": MemoryUse(user: 1_090_000, kernel: 36_000, maps: 0)], kernelGrowth: 72_000)
    let page = HTMLReport(result: result).page()
    for wanted in [
      "id=\"new-8KB\"", "3 failed", "absent", "varnishd is not installed", "9 of 10", "10000 + 4000 + 0", "1 (1 reset)",
      "1.2, 3 failed</td>", "Latency",
    ] {
      #expect(page.contains(wanted), "\(wanted)")
    }
    for unwanted in ["src=", "@import", "url(", "<script", "href=\"http"] {
      #expect(!page.contains(unwanted), "\(unwanted)")
    }
    #expect(page.components(separatedBy: "<svg").count == page.components(separatedBy: "</svg>").count)
  }

  @Test func textIsEscaped() {
    #expect(HTML.escaped("a<b> & \"c\"") == "a&lt;b&gt; &amp; &quot;c&quot;")
    let plot = BarPlot(title: "x < y", bars: [.init(name: "a&b", value: 1)])
    #expect(plot.svg.contains("x &lt; y"))
    #expect(plot.svg.contains("a&amp;b"))
  }

  @Test func partsTooSmallToBeSeenAreLeftOut() {
    let rows = [
      StackPlot.Row(name: "r", parts: [("large", 1000), ("small", 1), ("noise", -5), ("seen", 3)])
    ]
    let svg = StackPlot(title: "t", rows: rows, unit: "B").svg
    #expect(svg.contains("large: 1000 B"))
    #expect(svg.contains("seen: 3.0 B"))
    #expect(!svg.contains("small") && !svg.contains("noise"))
    #expect(svg.contains("1003 B"))
  }

  @Test(arguments: [(5.0, "5 us"), (1500, "1.5 ms"), (25_000, "25 ms"), (2_000_000, "2.0 s")])
  func durationsAreReadable(microseconds: Double, text: String) {
    #expect(LatencyPlot.duration(microseconds) == text)
  }
}
