// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Telemetry

@Suite struct PrometheusTextTests {
  @Test func wholeTextIsDeterministic() {
    let families = [
      MetricFamily(
        "handoff_b_total", help: "Second\nline and \\.", kind: .counter,
        samples: [.init(labels: [.init("outcome", "a\"b\\c\nd")], value: 3)]),
      MetricFamily("handoff_a", help: "First.", kind: .gauge, samples: [.init(value: 0.25)]),
      MetricFamily(
        "handoff_b_total", help: "Ignored.", kind: .counter,
        samples: [
          .init(labels: [.init("outcome", "x"), .init("worker", "1")], value: 9_007_199_254_740_991),
          .init(labels: [.init("outcome", "a\"b\\c\nd")], value: 4),
        ]),
    ]
    #expect(
      PrometheusText.render(families) == #"""
        # HELP handoff_a First.
        # TYPE handoff_a gauge
        handoff_a 0.25
        # HELP handoff_b_total Second\nline and \\.
        # TYPE handoff_b_total counter
        handoff_b_total{outcome="a\"b\\c\nd"} 3
        handoff_b_total{outcome="x",worker="1"} 9007199254740991

        """#)
  }

  @Test(arguments: [
    (0.0, "0"), (-1.0, "-1"), (1e-06, "1e-06"), (2.5, "2.5"), (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"),
    (1e20, "1e+20"),
  ])
  func numbers(value: Double, text: String) {
    #expect(PrometheusText.number(value) == text)
  }

  @Test func processMetricsAreSane() throws {
    let registry = MetricsRegistry()
    registry.registerProcess(version: "1.2.3", node: "n1", roles: ["dispatcher", "distributor"])
    let values = Dictionary(uniqueKeysWithValues: registry.collect().map { ($0.name, $0.samples[0].value) })
    #expect(try #require(values["process_cpu_seconds_total"]) > 0)
    #expect(try #require(values["process_resident_memory_bytes"]) > 1e6)
    #expect(try #require(values["process_open_fds"]) >= 3)
    #expect(try #require(values["process_max_fds"]) >= 3)
    #expect(try #require(values["process_threads"]) >= 1)
    // After 2020-09-13: a start time relative to boot would be far smaller.
    #expect(try #require(values["process_start_time_seconds"]) > 1.6e9)
    let text = PrometheusText.render(registry.collect())
    #expect(text.contains("handoff_build_info{version=\"1.2.3\",node=\"n1\",roles=\"dispatcher,distributor\"} 1\n"))
  }
}
