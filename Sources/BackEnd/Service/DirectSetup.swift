// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ForwardingPlane
import Handoff
import LinuxKernel
import Logging
import Telemetry
import Wire

/// Decides whether this node can serve directly, and sets it up.
enum DirectSetup {
  /// Settings of the kernel without which it takes no connection with the option that they govern
  /// (`bpf_sk_assign_tcp_reqsk`), or none at all.
  static let settings = ["tcp_syncookies", "tcp_timestamps", "tcp_sack", "tcp_window_scaling"]

  /// Why a setting stands in the way, nil when it does not.
  static func obstacle(setting name: String) -> ServePlaneError? {
    guard let value = try? Sysctl.read("net/ipv4/\(name)"), value != "0" else {
      return ServePlaneError("net.ipv4.\(name) is 0", remedy: "Set it: sysctl -w net.ipv4.\(name)=1")
    }
    return nil
  }

  /// The serving plane, or nil when connections are to be relayed. With `.auto` the reason is logged, with `.direct` it is
  /// the failure.
  static func prepare(
    _ configuration: BackEndConfiguration, interface: String, loops: Int, _ logger: Logger
  ) throws(StartupFailure) -> ServePlane? {
    if configuration.serve == .repair {
      ServePlane.removeLeftovers(interface: interface)
      return nil
    }
    do throws(ServePlaneError) {
      if let problem = obstacle(loops: loops) { throw problem }
      return try attach(configuration, interface: interface, loops: loops)
    } catch {
      guard configuration.serve == .auto else {
        throw StartupFailure("Connections cannot be served directly: \(error.problem)", remedy: error.remedy)
      }
      ServePlane.removeLeftovers(interface: interface)
      logger.notice("connections are relayed: \(error)")
      return nil
    }
  }

  static func attach(
    _ configuration: BackEndConfiguration, interface: String, loops: Int
  ) throws(ServePlaneError) -> ServePlane {
    var random = SystemRandomNumberGenerator()
    return try ServePlane.attach(
      ServePlaneConfiguration(
        interface: interface, serverPort: configuration.serverPort,
        serverAddressIPv4: configuration.serverAddressIPv4, serverAddressIPv6: configuration.serverAddressIPv6,
        loops: loops, packetPort: configuration.acceptsPackets ? configuration.handoffPort : 0,
        packetKey: HandoffPacketKey(random.next(), random.next())))
  }

  private static func obstacle(loops: Int) -> ServePlaneError? {
    if loops > ServePlaneConfiguration.maximumLoops {
      return ServePlaneError(
        "\(loops) workers are more than the \(ServePlaneConfiguration.maximumLoops) that it can have",
        remedy: "Lower --workers")
    }
    for name in settings {
      if let problem = obstacle(setting: name) { return problem }
    }
    return nil
  }
}

/// Watches whether the web server's listener takes connections directly, for one address family.
struct ListenerJudgement: Hashable {
  /// Nil when it does; else why not.
  var obstacle: String?

  /// - Parameters:
  ///   - listeners: all at the server's port.
  ///   - services: served addresses of the family.
  ///   - server: where the agent itself reaches the server.
  static func judge(_ listeners: [TCPListener], services: [IPAddress], server: Endpoint) -> ListenerJudgement {
    // In the order of the kernel's search: the dialled address (its own or the wildcard's listener), then the server's.
    for address in services + [server.address] {
      let found = listeners.filter { $0.takes(address) }
      // An exact address wins over the wildcard.
      guard let first = found.first(where: { !$0.local.address.isUnspecified }) ?? found.first else { continue }
      if first.isMultipath {
        return ListenerJudgement(
          obstacle: "the listener \(first.local) is of Multipath TCP, which takes no handed-off connection; for a Go "
            + "server set GODEBUG=multipathtcp=0")
      }
      return ListenerJudgement(obstacle: nil)
    }
    return ListenerJudgement(
      obstacle: "nothing listens at port \(server.port) of \(server.address) or of a served address in this network "
        + "namespace")
  }
}
