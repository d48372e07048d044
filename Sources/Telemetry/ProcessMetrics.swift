// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

/// Metrics that every process has: `process_*` as Prometheus' client libraries name them, and `handoff_build_info`.
public enum ProcessMetrics {
  public static func collect() -> [MetricFamily] {
    let usage = ProcessUsage.current()
    func family(_ name: String, _ help: String, _ kind: MetricFamily.Kind, _ value: Double) -> MetricFamily {
      MetricFamily(name, help: help, kind: kind, samples: [.init(value: value)])
    }
    return [
      family(
        "process_cpu_seconds_total", "User and system time of the process in seconds.", .counter, usage.cpuSeconds),
      family("process_resident_memory_bytes", "Resident memory in bytes.", .gauge, Double(usage.residentBytes)),
      family("process_open_fds", "Open file descriptors.", .gauge, Double(usage.openDescriptors)),
      family("process_max_fds", "Soft limit of open file descriptors.", .gauge, Double(usage.maximumDescriptors)),
      family("process_threads", "Threads of the process.", .gauge, Double(usage.threads)),
      family(
        "process_start_time_seconds", "Start of the process, in seconds since 1970-01-01 UTC.", .gauge,
        usage.startTime),
    ]
  }

  /// - Parameters:
  ///   - version: of the program.
  ///   - roles: what this process runs; joined by commas into one label, as its set is small.
  public static func buildInformation(version: String, node: String, roles: [String]) -> MetricFamily {
    MetricFamily(
      "handoff_build_info", help: "Always 1; the labels say which program runs as what.", kind: .gauge,
      samples: [
        .init(
          labels: [.init("version", version), .init("node", node), .init("roles", roles.joined(separator: ","))],
          value: 1)
      ])
  }
}

extension MetricsRegistry {
  /// Adds the metrics that every process has.
  public func registerProcess(version: String, node: String, roles: [String]) {
    let information = ProcessMetrics.buildInformation(version: version, node: node, roles: roles)
    register { [information] + ProcessMetrics.collect() }
  }
}
