// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Wire

/// What the environment gives this process.
struct EnvironmentFacts: Sendable, Hashable {
  /// Effective ones.
  var capabilities: ProcessCapabilities
  var kernelRelease: String
  var descriptors: DescriptorLimit
  /// Programs of `Preflight.programs` that were found.
  var programs: Set<String>

  static func current() -> EnvironmentFacts {
    EnvironmentFacts(
      capabilities: .effective(), kernelRelease: HostFacts.kernelRelease(),
      descriptors: .current(), programs: Set(Preflight.programs.filter { HostFacts.program($0) != nil }))
  }
}

/// Checks whether the environment has what a plan needs, before anything is touched.
enum Preflight {
  struct Finding: Sendable, Hashable, CustomStringConvertible {
    enum Severity: String, Sendable { case error, warning }

    var severity: Severity
    var problem: String
    var remedy: String

    var description: String { "\(problem). \(remedy)." }
  }

  static let programs = ["iptables-restore", "ip6tables-restore"]

  /// Descriptors besides those of connections: listeners, control connections, BPF objects, logs.
  static let spareDescriptors: UInt64 = 256

  static func check(_ plan: NodePlan, _ facts: EnvironmentFacts) -> [Finding] {
    capabilities(plan.configuration, facts) + kernel(plan.configuration, facts) + programs(plan, facts)
      + descriptors(plan.configuration, facts)
  }

  private static func capabilities(_ configuration: NodeConfiguration, _ facts: EnvironmentFacts) -> [Finding] {
    let held = facts.capabilities
    var findings: [Finding] = []
    func need(_ name: String, _ reason: String) {
      findings.append(
        Finding(
          severity: .error, problem: "\(name) is missing: \(reason)",
          remedy: "Run as root, or give the service AmbientCapabilities=\(name)"))
    }
    if !held.contains(.networkAdministration) {
      if configuration.backEnd != nil {
        need("CAP_NET_ADMIN", "the server node recreates connections with TCP_REPAIR and takes over served addresses")
      } else if configuration.distributor != nil {
        need("CAP_NET_ADMIN", "the distributor sets up its queue rule and its forwarding program")
      }
    }
    if configuration.distributor != nil {
      if !held.contains(.rawSockets) { need("CAP_NET_RAW", "the distributor answers handshakes through a raw socket") }
      // CAP_SYS_ADMIN contained it before Linux 5.8 and still does.
      if held.isDisjoint(with: [.bpf, .systemAdministration]) {
        need("CAP_BPF", "the distributor loads its forwarding program")
      }
      if held.isDisjoint(with: [.performanceMonitoring, .systemAdministration]) {
        need("CAP_PERFMON", "the kernel's verifier takes the forwarding program only with it")
      }
      if !held.contains(.systemAdministration) {
        findings.append(
          Finding(
            severity: .warning,
            problem: "CAP_SYS_ADMIN is missing: should the distributor die, its successor loses all handed-off "
              + "connections",
            remedy: "Give the service CAP_SYS_ADMIN, without which the kernel shows nobody a predecessor's flow table"))
      }
    }
    if case .here = configuration.dispatcher, configuration.controlPort < 1024, !held.contains(.lowPorts) {
      need("CAP_NET_BIND_SERVICE", "the control port \(configuration.controlPort) is below 1024")
    }
    return findings
  }

  /// The oldest kernel whose interfaces are all there.
  private static let oldest = (major: 5, minor: 15)

  private static func kernel(_ configuration: NodeConfiguration, _ facts: EnvironmentFacts) -> [Finding] {
    guard configuration.backEnd != nil || configuration.distributor != nil else { return [] }
    let numbers = facts.kernelRelease.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
    guard numbers.count == 2 else {
      return [
        Finding(
          severity: .warning, problem: "The kernel's version '\(facts.kernelRelease)' is not understood",
          remedy: "Linux \(oldest.major).\(oldest.minor) or later is needed")
      ]
    }
    if (numbers[0], numbers[1]) >= (oldest.major, oldest.minor) { return [] }
    return [
      Finding(
        severity: .error, problem: "The kernel is Linux \(facts.kernelRelease)",
        remedy: "Linux \(oldest.major).\(oldest.minor) or later is needed")
    ]
  }

  private static func programs(_ plan: NodePlan, _ facts: EnvironmentFacts) -> [Finding] {
    var needed: [String] = []
    if plan.services.contains(where: { $0.address.isIPv4 }) { needed.append("iptables-restore") }
    if plan.services.contains(where: { !$0.address.isIPv4 }) { needed.append("ip6tables-restore") }
    return needed.filter { !facts.programs.contains($0) }.map {
      Finding(
        severity: .error, problem: "The distributor needs \($0), which is not in PATH or /usr/sbin",
        remedy: "Install the package 'iptables'")
    }
  }

  private static func descriptors(_ configuration: NodeConfiguration, _ facts: EnvironmentFacts) -> [Finding] {
    guard let backEnd = configuration.backEnd else { return [] }
    // One towards the client and one towards the web server.
    let needed = 2 * UInt64(backEnd.maximumConnections) + spareDescriptors
    if facts.descriptors.hard >= needed { return [] }
    let possible = max(0, Int(facts.descriptors.hard) - Int(spareDescriptors)) / 2
    return [
      Finding(
        severity: .warning,
        problem: "\(backEnd.maximumConnections) connections need \(needed) file descriptors, but the limit is "
          + "\(facts.descriptors.hard), enough for about \(possible)",
        remedy: "Raise it (LimitNOFILE= of the service, or ulimit -Hn) or lower --max-connections")
    ]
  }
}

/// Numbers of include/uapi/linux/capability.h.
extension ProcessCapabilities {
  /// CAP_NET_BIND_SERVICE.
  static let lowPorts = ProcessCapabilities(rawValue: 1 << 10)
  /// CAP_PERFMON.
  static let performanceMonitoring = ProcessCapabilities(rawValue: 1 << 38)
  /// CAP_SYS_ADMIN.
  static let systemAdministration = ProcessCapabilities(rawValue: 1 << 21)
}
