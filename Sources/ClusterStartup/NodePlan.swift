// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Telemetry
import Wire

/// What this host is, as far as a plan needs to know.
struct HostView: Sendable, Hashable {
  var hostName: String
  var interfaces: [HostInterface]
  var processors: Int
}

/// Where the dispatcher is, once its name is resolved.
enum DispatcherLocation: Sendable, Hashable {
  case here
  /// - source: the address that this host would reach it from.
  case elsewhere(IPAddress, source: IPAddress)
}

/// A configuration with every default filled in from the host: what will be started.
struct NodePlan: Sendable, Hashable {
  var configuration: NodeConfiguration
  var nodeName: String
  var internalAddress: IPAddress
  /// The interface for clients' packets and for forwarding.
  var interface: String
  /// Where the dispatcher takes control connections.
  var dispatcher: Endpoint
  /// What the distributor serves; empty without one.
  var services: [Endpoint]
  /// Of the distributor.
  var workers: Int
  /// Of the server node; 0 leaves the number to it.
  var backEndWorkers: Int

  init(
    _ configuration: NodeConfiguration, host: HostView, dispatcher location: DispatcherLocation
  ) throws(StartupFailure) {
    self.configuration = configuration
    nodeName = configuration.nodeName ?? host.hostName
    let internalAddress = try NodePlan.internalAddress(configuration, host, location)
    let interface = try NodePlan.interface(configuration, host, internalAddress)
    self.internalAddress = internalAddress
    self.interface = interface.name
    switch location {
    case .here: dispatcher = Endpoint(internalAddress, configuration.controlPort)
    case .elsewhere(let address, _): dispatcher = Endpoint(address, configuration.controlPort)
    }
    services = []
    // More loops than the forwarding plane has queues for would only add latency.
    workers = configuration.workers ?? min(64, host.processors)
    backEndWorkers = configuration.workers ?? 0
    if let distributor = configuration.distributor {
      let addresses = try NodePlan.served(distributor, interface, internalAddress)
      services = addresses.map { Endpoint($0, distributor.port) }
    }
  }

  private static func internalAddress(
    _ configuration: NodeConfiguration, _ host: HostView, _ location: DispatcherLocation
  ) throws(StartupFailure) -> IPAddress {
    let own = host.interfaces.flatMap(\.addresses)
    if let given = configuration.internalAddress {
      guard own.contains(given) else {
        throw StartupFailure(
          "No interface of this host has the internal address \(given), only \(list(own))",
          remedy: "Correct --internal-address, or add the address to an interface")
      }
      return given
    }
    switch location {
    case .elsewhere(let address, let source):
      if configuration.distributor?.serve.contains(source) == true {
        throw StartupFailure(
          "This node reaches the dispatcher at \(address) from \(source), which it is to serve",
          remedy: "Give the node a second address and name it with --internal-address: server nodes take over every "
            + "served address")
      }
      return source
    case .here:
      let served = configuration.distributor?.serve ?? []
      let candidates = host.interfaces
        .filter { $0.isUp && !$0.isLoopback && (configuration.interface ?? $0.name) == $0.name }
        .flatMap(\.addresses).filter { !$0.isLinkLocal && !served.contains($0) }
      // Of two families IPv4 is taken, as before in a cluster that got its first IPv6 address.
      let ofOneFamily = candidates.contains(where: \.isIPv4) ? candidates.filter(\.isIPv4) : candidates
      guard ofOneFamily.count == 1, let only = ofOneFamily.first else {
        throw StartupFailure(
          candidates.isEmpty
            ? "This host has no address for control connections"
            : "This host has several addresses, and none is named for control connections: \(list(candidates))",
          remedy: "Give --internal-address ADDRESS with the one that the other nodes reach")
      }
      return only
    }
  }

  private static func interface(
    _ configuration: NodeConfiguration, _ host: HostView, _ internalAddress: IPAddress
  ) throws(StartupFailure) -> HostInterface {
    if let name = configuration.interface {
      guard let interface = host.interfaces.first(where: { $0.name == name }) else {
        throw StartupFailure(
          "There is no interface \(name) on this host, only \(host.interfaces.map(\.name).joined(separator: ", "))",
          remedy: "Correct --interface")
      }
      guard interface.isUp else {
        throw StartupFailure("Interface \(name) is down", remedy: "Bring it up: ip link set \(name) up")
      }
      return interface
    }
    guard let interface = host.interfaces.first(where: { $0.addresses.contains(internalAddress) }) else {
      throw StartupFailure(
        "No interface of this host has the address \(internalAddress)", remedy: "Give --interface NAME")
    }
    return interface
  }

  private static func served(
    _ distributor: DistributorSettings, _ interface: HostInterface, _ internalAddress: IPAddress
  ) throws(StartupFailure) -> [IPAddress] {
    let addresses =
      distributor.serve.isEmpty
      ? interface.addresses.filter { $0 != internalAddress && !$0.isLinkLocal && !$0.isLoopback } : distributor.serve
    if addresses.contains(internalAddress) {
      let problem = ConfigurationProblem.servedInternally(internalAddress, place: "")
      throw StartupFailure(problem.problem, remedy: problem.remedy)
    }
    if addresses.isEmpty {
      throw StartupFailure(
        "There is nothing to serve: interface \(interface.name) has no address besides the internal one, "
          + "\(internalAddress)",
        remedy: "Give --serve ADDRESS with the address that clients dial")
    }
    return addresses
  }

  private static func list(_ addresses: [IPAddress]) -> String {
    addresses.isEmpty ? "none" : addresses.map { "\($0)" }.joined(separator: ", ")
  }
}
