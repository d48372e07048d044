// SPDX-License-Identifier: Apache-2.0

import BackEnd
import BackEndCore
import Dispatcher
import Distributor
import LinuxKernel
import NodeChecks
import Wire

/// Gathers what the roles and the host say for one set of options.
struct Examination {
  private let options: Doctor
  private let interfaces: [HostInterface]
  private let internalAddress: IPAddress
  private let interface: String

  init(_ options: Doctor) {
    self.options = options
    interfaces = (try? HostInterface.all()) ?? []
    let candidates = interfaces.filter { $0.isUp && !$0.isLoopback && (options.interface ?? $0.name) == $0.name }
    internalAddress =
      options.address
      ?? candidates.flatMap(\.addresses).first { !$0.isLinkLocal && !options.serve.contains($0) }
      ?? IPAddress(ipv4: 0x7f00_0001)
    let address = internalAddress
    interface = options.interface ?? interfaces.first { $0.addresses.contains(address) }?.name ?? "lo"
  }

  private var isDistributor: Bool { options.role.contains(.distributor) }
  private var isBackEnd: Bool { options.role.contains(.backEnd) }

  private var served: [IPAddress] {
    if !options.serve.isEmpty { return options.serve }
    let own = interfaces.first { $0.name == interface }?.addresses ?? []
    return own.filter { $0 != internalAddress && !$0.isLinkLocal && !$0.isLoopback }
  }

  func findings() -> [DoctorFinding] {
    var findings = EnvironmentChecks.findings(needs, .current())
    if isDistributor || isBackEnd {
      findings += HostChecks.interface(interface, forwards: isDistributor)
      findings.append(HostChecks.translator(try? Sysctl.read("net/core/bpf_jit_enable")))
    }
    if options.role.contains(.dispatcher) { findings += DispatcherChecks.findings(listen: dispatcher) }
    findings.append(HostChecks.clock(.current()))
    let overhead = DistributorChecks.tunnelHeaders(overIPv4: internalAddress.isIPv4)
    for peer in options.peer {
      findings.append(HostChecks.peer(peer, interface: isDistributor ? interface : nil, overhead: overhead))
    }
    if isDistributor { findings += DistributorChecks.findings(distributor) }
    if isBackEnd { findings += BackEndChecks.findings(backEnd) }
    return findings + trials()
  }

  /// Each in a namespace of its own: what one role puts there is not in the other's way.
  private func trials() -> [DoctorFinding] {
    var findings: [DoctorFinding] = []
    do throws(SystemError) {
      if isDistributor {
        let distributor = self.distributor
        findings += try TrialNamespace.perform { DistributorChecks.trials(distributor) }
      }
      if isBackEnd {
        let backEnd = self.backEnd
        findings += try TrialNamespace.perform { BackEndChecks.trials(backEnd) }
      }
    } catch {
      findings.append(
        DoctorFinding(
          .node, "trials",
          .lost(
            "There is no network namespace for them: \(error)",
            loss: "programs, queues, rules and handoffs were not tried, and nothing is said about them here",
            remedy: "Run clusterctl doctor as root (CAP_SYS_ADMIN)")))
    }
    return findings
  }

  private var needs: NodeNeeds {
    var needs = NodeNeeds()
    if options.role.contains(.dispatcher) { needs.dispatcher = .init(controlPort: options.controlPort) }
    if isBackEnd {
      needs.backEnd = .init(
        maximumConnections: backEnd.maximumConnections, acceptsTunnels: backEnd.acceptsTunnels,
        servesDirectly: options.serveMode != .repair, mustServeDirectly: options.serveMode == .direct)
    }
    if isDistributor {
      needs.distributor = .init(
        servesIPv4: served.contains(where: \.isIPv4), servesIPv6: served.contains { !$0.isIPv4 })
    }
    return needs
  }

  private var dispatcher: Endpoint { Endpoint(internalAddress, options.controlPort) }

  private var backEnd: BackEndConfiguration {
    var configuration = BackEndConfiguration(
      nodeName: HostFacts.name(), internalAddress: internalAddress, dispatcher: dispatcher,
      serverPort: options.port ?? 0, handoffPort: options.handoffPort)
    configuration.serve = options.serveMode
    configuration.acceptsTunnels = options.tunnel != .never
    if let most = options.maxConnections { configuration.maximumConnections = most }
    return configuration
  }

  private var distributor: DistributorConfiguration {
    var configuration = DistributorConfiguration(
      nodeName: HostFacts.name(), internalAddress: internalAddress, interface: interface,
      services: served.map { Endpoint($0, options.distributorPort) }, dispatcher: dispatcher,
      workers: options.workers ?? min(64, HostFacts.processors()), packets: options.packets, tunnel: options.tunnel,
      forwarding: options.forwardingHook, instance: 0)
    if let most = options.maxConnections { configuration.maximumFlows = Int(most) }
    return configuration
  }
}
