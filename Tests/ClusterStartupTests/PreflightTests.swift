// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LinuxKernel
import NodeChecks
import Testing
import Wire

@testable import ClusterStartup

@Suite struct PreflightTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var options: [String]
    var change: @Sendable (inout EnvironmentFacts) -> Void = { _ in }
    /// Beginnings of the findings, severity first.
    var findings: [String]
    var testDescription: String { name }
  }

  private static let good = EnvironmentFacts(
    capabilities: [.networkAdministration, .rawSockets, .bpf, .performanceMonitoring, .systemAdministration],
    kernelRelease: "6.1.0-13-amd64",
    descriptors: DescriptorLimit(soft: 1024, hard: 1_048_576), programs: ["iptables-restore", "ip6tables-restore"])

  private static let distributor = ["-FE", "-fp", "80", "-da", "10.0.0.1", "--serve", "192.0.2.10"]
  private static let server = ["-BE", "-bp", "80", "-da", "10.0.0.1"]
  private static let dispatcher = ["-D", "--internal-address", "10.0.0.2"]

  @Test(arguments: [
    Case(name: "all is there", options: distributor, findings: []),
    Case(
      name: "a dispatcher needs no privilege", options: dispatcher, change: { $0.capabilities = [] }, findings: []),
    Case(
      name: "low control port", options: dispatcher + ["--control-port", "700"], change: { $0.capabilities = [] },
      findings: ["error CAP_NET_BIND_SERVICE"]),
    Case(
      name: "distributor without any", options: distributor, change: { $0.capabilities = [] },
      findings: [
        "error CAP_NET_ADMIN", "error CAP_NET_RAW", "error CAP_BPF", "error CAP_PERFMON", "warning CAP_SYS_ADMIN",
      ]),
    Case(
      name: "CAP_BPF without CAP_PERFMON", options: distributor,
      change: { $0.capabilities = [.networkAdministration, .rawSockets, .bpf] },
      findings: ["error CAP_PERFMON", "warning CAP_SYS_ADMIN"]),
    Case(
      name: "a predecessor's flows cannot be seen", options: distributor,
      change: { $0.capabilities.remove(.systemAdministration) }, findings: ["warning CAP_SYS_ADMIN"]),
    Case(
      name: "CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON", options: distributor,
      change: { $0.capabilities = [.networkAdministration, .rawSockets, .systemAdministration] }, findings: []),
    Case(
      name: "server node without any", options: server, change: { $0.capabilities = [] },
      findings: ["error CAP_NET_ADMIN", "error CAP_NET_RAW", "error CAP_BPF", "error CAP_PERFMON"]),
    Case(
      name: "server node that only relays", options: server + ["--tunnel", "never", "--serve-mode", "repair"],
      change: { $0.capabilities = [.networkAdministration, .rawSockets] }, findings: []),
    Case(
      name: "server node that could serve directly", options: server + ["--tunnel", "never"],
      change: { $0.capabilities = [.networkAdministration, .rawSockets] },
      findings: ["warning CAP_BPF", "warning CAP_PERFMON"]),
    Case(
      name: "old kernel", options: server, change: { $0.kernelRelease = "5.14.21" },
      findings: ["error The kernel is Linux 5.14.21"]),
    Case(name: "oldest kernel", options: server, change: { $0.kernelRelease = "5.15.0" }, findings: []),
    Case(
      name: "unknown kernel", options: server, change: { $0.kernelRelease = "custom" },
      findings: ["warning The kernel's version 'custom'"]),
    Case(
      name: "no iptables, IPv4 only", options: distributor, change: { $0.programs = [] },
      findings: ["error The distributor needs iptables-restore"]),
    Case(
      name: "no iptables, both families", options: distributor + ["--serve", "2001:db8::10"],
      change: { $0.programs = [] },
      findings: ["error The distributor needs iptables-restore", "error The distributor needs ip6tables-restore"]),
    Case(
      name: "few descriptors", options: server + ["--max-connections", "1000"],
      change: { $0.descriptors.hard = 1256 },
      findings: ["warning 1000 connections need 2256 file descriptors, but the limit is 1256, enough for about 500"]),
    Case(
      name: "just enough descriptors", options: server + ["--max-connections", "1000"],
      change: { $0.descriptors.hard = 2256 }, findings: []),
  ])
  func findings(_ example: Case) throws {
    let configuration = try NodeConfiguration(checking: try StartupCommand.parse(example.options).options.values)
    let location: DispatcherLocation =
      configuration.roles.contains(.dispatcher)
      ? .here : .elsewhere(IPAddress("10.0.0.1")!, source: IPAddress("10.0.0.2")!)
    let plan = try NodePlan(configuration, host: GoldenConfigurationTests.host, dispatcher: location)
    var facts = Self.good
    example.change(&facts)
    let found = Preflight.check(plan, facts).map { "\($0.severity.rawValue) \($0)" }
    #expect(found.count == example.findings.count, "\(found)")
    for (text, beginning) in zip(found, example.findings) { #expect(text.hasPrefix(beginning)) }
  }
}
