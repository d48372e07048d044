// SPDX-License-Identifier: Apache-2.0

public import LinuxKernel

/// A capability that a role needs, and what for: the one list that starts and `clusterctl doctor` go by.
public struct CapabilityNeed: Sendable, Hashable {
  public var name: String
  /// Any of them will do.
  public var sufficient: ProcessCapabilities
  /// Why, as the second half of a sentence.
  public var reason: String
  /// What the role does not do without it; nil where it cannot start.
  public var loss: String?

  public func isMet(by held: ProcessCapabilities) -> Bool { !held.isDisjoint(with: sufficient) }

  /// What every server node needs, whatever its options.
  public static let backEnd = [
    CapabilityNeed(
      "CAP_NET_ADMIN", [.networkAdministration],
      "the server node recreates connections with TCP_REPAIR and takes over served addresses"),
    CapabilityNeed(
      "CAP_NET_RAW", [.rawSockets], "the server node puts clients' first segments before its web server by a raw socket"
    ),
  ]

  static func all(_ needs: NodeNeeds.BackEnd) -> [CapabilityNeed] {
    guard needs.acceptsTunnels || needs.servesDirectly else { return backEnd }
    let isNeeded = needs.acceptsTunnels || needs.mustServeDirectly
    let reason =
      needs.acceptsTunnels
      ? "the server node loads the program that ends tunnels (not with --tunnel never), and the one that serves directly"
      : "the server node loads the program that serves directly"
    let loss = isNeeded ? nil : "connections are relayed by the agent instead of going to the web server itself"
    // CAP_SYS_ADMIN contained both before Linux 5.8 and still does.
    return backEnd + [
      CapabilityNeed("CAP_BPF", [.bpf, .systemAdministration], reason, loss: loss),
      CapabilityNeed("CAP_PERFMON", [.performanceMonitoring, .systemAdministration], reason, loss: loss),
    ]
  }

  static let distributor = [
    CapabilityNeed(
      "CAP_NET_ADMIN", [.networkAdministration], "the distributor sets up its queue rule and its forwarding program"),
    CapabilityNeed("CAP_NET_RAW", [.rawSockets], "the distributor answers handshakes through a raw socket"),
    CapabilityNeed("CAP_BPF", [.bpf, .systemAdministration], "the distributor loads its forwarding program"),
    CapabilityNeed(
      "CAP_PERFMON", [.performanceMonitoring, .systemAdministration],
      "the kernel's verifier takes the forwarding program only with it"),
    CapabilityNeed(
      "CAP_SYS_ADMIN", [.systemAdministration],
      "without it the kernel shows nobody a predecessor's flow table",
      loss: "should the distributor die, its successor loses all handed-off connections"),
  ]

  static func all(_ needs: NodeNeeds.Dispatcher) -> [CapabilityNeed] {
    guard needs.controlPort < 1024 else { return [] }
    return [
      CapabilityNeed("CAP_NET_BIND_SERVICE", [.lowPorts], "the control port \(needs.controlPort) is below 1024")
    ]
  }

  private init(_ name: String, _ sufficient: ProcessCapabilities, _ reason: String, loss: String? = nil) {
    self.name = name
    self.sufficient = sufficient
    self.reason = reason
    self.loss = loss
  }

  func finding(_ subject: DoctorFinding.Subject, held: ProcessCapabilities) -> DoctorFinding {
    DoctorFinding(
      subject, name, found: "held", problem: isMet(by: held) ? nil : "\(name) is missing: \(reason)",
      isNeeded: loss == nil, loss: loss ?? "",
      remedy: "Run as root, or give the service AmbientCapabilities=\(name)")
  }
}
