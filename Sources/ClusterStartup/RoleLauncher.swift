// SPDX-License-Identifier: Apache-2.0

import BackEnd
import Dispatcher
import DispatcherCore
import Distributor
import Handoff
import LinuxKernel
import Logging
import Telemetry
import Wire

/// Maps a plan to the configuration of each role's service and starts it.
enum RoleLauncher {
  static func start(
    _ role: NodeRole, _ plan: NodePlan, _ metrics: MetricsRegistry, _ log: Logger
  ) throws(StartupFailure) -> any RunningRole {
    // Each role logs under its own name.
    let logger = Logger(label: role.rawValue)
    switch role {
    case .dispatcher:
      guard case .here(let settings) = plan.configuration.dispatcher else { break }
      return try DispatcherService.start(dispatcher(plan, settings), metrics: metrics, logger: logger)
    case .backEnd:
      guard let settings = plan.configuration.backEnd else { break }
      return try BackEndRole.start(backEnd(plan, settings), metrics: metrics, logger: logger)
    case .distributor:
      guard let settings = plan.configuration.distributor else { break }
      return try DistributorService.start(distributor(plan, settings), metrics: metrics, logger: logger)
    }
    preconditionFailure("the plan has no \(role.rawValue)")
  }

  static func dispatcher(_ plan: NodePlan, _ settings: DispatcherSettings) -> DispatcherConfiguration {
    var parameters = DispatcherParameters.with(
      settings.policy.name, thresholds: LARDThresholds(low: settings.tLow, high: settings.tHigh))
    parameters.admission = settings.admission
    parameters.leases = settings.leases
    return DispatcherConfiguration(
      listen: plan.dispatcher, name: plan.nodeName, parameters: parameters, rules: settings.rules,
      busyWait: HostFacts.processors() > 1 ? 50_000 : 0)
  }

  static func backEnd(_ plan: NodePlan, _ settings: BackEndSettings) -> BackEndConfiguration {
    var configuration = BackEndConfiguration(
      nodeName: plan.nodeName, internalAddress: plan.internalAddress, dispatcher: plan.dispatcher,
      serverPort: settings.serverPort, handoffPort: settings.handoffPort, weight: settings.weight,
      pools: settings.pools,
      maximumConnections: settings.maximumConnections, workers: plan.backEndWorkers)
    configuration.serve = settings.serveMode
    configuration.acceptsTunnels = settings.tunnel != .never
    configuration.acceptsPackets = settings.handoffs != .message
    return configuration
  }

  static func distributor(_ plan: NodePlan, _ settings: DistributorSettings) -> DistributorConfiguration {
    DistributorConfiguration(
      nodeName: plan.nodeName, internalAddress: plan.internalAddress, interface: plan.interface,
      services: plan.services, dispatcher: plan.dispatcher, workers: plan.workers, firstQueue: settings.queueNumber,
      maximumFlows: Int(settings.maximumFlows), headTimeout: settings.headTimeout,
      handshake: settings.handshake, packets: settings.packets, tunnel: settings.tunnel,
      forwarding: settings.forwarding, sendsPackets: settings.handoffs != .message, instance: .random(in: .min ... .max)
    )
  }
}

extension PolicyWord {
  /// As the dispatcher calls it.
  var name: PolicyName {
    switch self {
    case .wrr: .weightedRoundRobin
    case .lc: .leastConnections
    case .hash: .hash
    case .bounded: .boundedLoadHash
    case .lard: .lard
    case .lardr: .replicatedLARD
    case .elard: .extendedLARD
    case .alard: .anchoredLARD
    }
  }
}
