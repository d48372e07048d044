// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import Glibc
import LinuxKernel
import Logging
import Telemetry
import Wire

/// What the agent changes in the node's network configuration, and what it puts back. Everything carries
/// `NetlinkTag.backEnd`, so that the next start finds what a killed agent left.
struct NodeNetwork: ~Copyable {
  let interface: NetworkInterface
  private let loopback: NetworkInterface
  private let configuration: BackEndConfiguration
  private let logger: Logger
  private var netlink: NetlinkSocket
  private let sysctls: SysctlOverrides
  private var notifications: NetlinkSocket

  /// Finds the node's interface and changes nothing yet.
  init(_ configuration: BackEndConfiguration, logger: Logger) throws(StartupFailure) {
    do throws(SystemError) {
      try self.init(finding: configuration, logger)
    } catch {
      throw NodeNetwork.explain(error, configuration)
    }
  }

  private init(finding configuration: BackEndConfiguration, _ logger: Logger) throws(SystemError) {
    var netlink = try NetlinkSocket(.route)
    let notifications = try NetlinkSocket(.route, listeningTo: .addresses)
    let (interface, loopback) = try NodeNetwork.interfaces(configuration, &netlink)
    let sysctls = try SysctlOverrides(holder: "back-end", stateDirectory: configuration.stateDirectory)
    self.configuration = configuration
    self.logger = logger
    self.interface = interface
    self.loopback = loopback
    self.netlink = netlink
    self.notifications = notifications
    self.sysctls = sysctls
  }

  private static func interfaces(
    _ configuration: BackEndConfiguration, _ netlink: inout NetlinkSocket
  ) throws(SystemError) -> (own: NetworkInterface, loopback: NetworkInterface) {
    guard let interface = try netlink.interface(having: configuration.internalAddress) else {
      throw SystemError("RTM_GETADDR", "\(configuration.internalAddress)", errno: EADDRNOTAVAIL)
    }
    guard let loopback = try netlink.interface(named: "lo"), loopback.isUp else {
      throw SystemError("RTM_GETLINK", "lo", errno: ENETDOWN)
    }
    return (interface, loopback)
  }

  /// The interface that has the internal address. Changes nothing.
  static func findInterface(_ configuration: BackEndConfiguration) throws(StartupFailure) -> NetworkInterface {
    do throws(SystemError) {
      var netlink = try NetlinkSocket(.route)
      return try interfaces(configuration, &netlink).own
    } catch {
      throw explain(error, configuration)
    }
  }

  private static func explain(_ error: SystemError, _ configuration: BackEndConfiguration) -> StartupFailure {
    switch error.errno {
    case EADDRNOTAVAIL:
      StartupFailure(
        "The internal address \(configuration.internalAddress) is not an address of this node",
        remedy: "Give the address under which the distributors reach this node, or add it to an interface")
    case ENETDOWN:
      StartupFailure(
        "The loopback interface is down, so the agent cannot reach the web server",
        remedy: "Bring it up: ip link set lo up")
    case EACCES, EROFS:
      StartupFailure(
        "The agent cannot keep its state: \(error)",
        remedy: "Make \(configuration.stateDirectory) writable for this user, or give another state directory")
    default:
      StartupFailure(
        "The node's network configuration cannot be read: \(error)",
        remedy: "The agent needs netlink (CONFIG_NET, and no seccomp filter against AF_NETLINK)")
    }
  }

  /// For epoll: readable when addresses of the node changed.
  var notificationDescriptor: Int32 { notifications.raw }

  mutating func addressesChanged() -> Bool { notifications.drainNotifications() }

  // MARK: Set up and tear down

  /// Settings, routes and rules, after removing what a killed agent left.
  ///
  /// - Parameter keepingAddresses: connections of a killed agent may be open on its addresses; `apply` removes what is not
  ///   served any more.
  mutating func setUp(keepingAddresses: Bool) throws(StartupFailure) {
    removeRoutesAndRules()
    if !keepingAddresses { removeAddresses() }
    do throws(SystemError) {
      try setSysctls()
      try addRoutes()
    } catch {
      tearDown()
      throw StartupFailure(
        "The node's network cannot be set up: \(error)",
        remedy: "Start as root or with CAP_NET_ADMIN, with /proc/sys writable for it")
    }
  }

  mutating func tearDown() {
    removeRoutesAndRules()
    removeAddresses()
    sysctls.release()
  }

  /// Settings that the agent changes while it runs, with their values.
  static func settings(interface: String) -> [(key: String, value: String)] {
    var settings: [(key: String, value: String)] = []
    for name in ["all", interface] {
      // Silent to ARP for addresses on lo, and never naming one of them as sender (kernel documentation ip-sysctl).
      settings.append(("net/ipv4/conf/\(name)/arp_ignore", "1"))
      settings.append(("net/ipv4/conf/\(name)/arp_announce", "2"))
      // Clients' packets may come by another interface than the answers leave by.
      settings.append(("net/ipv4/conf/\(name)/rp_filter", "0"))
    }
    // The agent's connections to the web server come from the clients' addresses.
    settings.append(("net/ipv4/conf/lo/rp_filter", "0"))
    return settings
  }

  private func setSysctls() throws(SystemError) {
    for (key, value) in NodeNetwork.settings(interface: interface.name) { try sysctls.set(key, to: value) }
  }

  private mutating func addRoutes() throws(SystemError) {
    for isIPv4 in [true, false] {
      do throws(SystemError) {
        try NodeNetwork.addRoute(configuration, isIPv4: isIPv4, loopback: loopback.index, &netlink)
      } catch {
        // A node without IPv6 serves IPv4 alone.
        if isIPv4 { throw error }
        logger.info("IPv6 connections are not taken: \(error)")
      }
    }
  }

  /// The way of the web server's answers to the agent.
  static func addRoute(
    _ configuration: BackEndConfiguration, isIPv4: Bool, loopback: UInt32, _ netlink: inout NetlinkSocket
  ) throws(SystemError) {
    try netlink.addLocalDefaultRoute(
      isIPv4: isIPv4, table: configuration.routingTable, loopback: loopback, tag: NetlinkTag.backEnd)
    try netlink.add(rule(configuration, isIPv4: isIPv4))
  }

  private static func rule(_ configuration: BackEndConfiguration, isIPv4: Bool) -> RoutingRule {
    RoutingRule(
      source: isIPv4 ? configuration.serverAddressIPv4 : configuration.serverAddressIPv6,
      sourcePort: configuration.serverPort, table: configuration.routingTable, priority: configuration.rulePriority,
      tag: NetlinkTag.backEnd)
  }

  private mutating func removeRoutesAndRules() {
    for isIPv4 in [true, false] {
      var tables: Set<UInt32> = []
      for rule in (try? netlink.rules(tag: NetlinkTag.backEnd, isIPv4: isIPv4)) ?? [] {
        tables.insert(rule.table)
        remove("rule \(rule.priority)") { netlink throws(SystemError) in try netlink.remove(rule) }
      }
      tables.insert(configuration.routingTable)
      for table in tables.sorted() {
        remove("route of table \(table)") { netlink throws(SystemError) in
          try netlink.removeLocalDefaultRoute(
            isIPv4: isIPv4, table: table, loopback: 1, tag: NetlinkTag.backEnd)
        }
      }
    }
  }

  private mutating func removeAddresses() {
    for found in (try? netlink.addresses()) ?? [] where found.tag == NetlinkTag.backEnd {
      remove("address \(found.address)") { netlink throws(SystemError) in
        try netlink.remove(found.address, from: found.interface)
      }
    }
  }

  private mutating func remove(_ what: String, _ body: (inout NetlinkSocket) throws(SystemError) -> Void) {
    do throws(SystemError) {
      try body(&netlink)
      logger.debug("removed \(what)")
    } catch {
      // Not there: nothing to remove.
      if ![ENOENT, ESRCH, EADDRNOTAVAIL, EAFNOSUPPORT].contains(error.errno) {
        logger.warning("removing \(what) failed: \(error)")
      }
    }
  }

  // MARK: Service addresses

  /// Carries out what the plan says. Returns false when an address could not be changed: to be tried again.
  mutating func apply(_ plan: inout ServiceAddressPlan, now: UInt64, connections: (IPAddress) -> Int) -> Bool {
    let present: [InterfaceAddress]
    do throws(SystemError) {
      present = try netlink.addresses()
    } catch {
      logger.warning("reading the node's addresses failed: \(error)")
      return false
    }
    let steps = plan.steps(
      now: now,
      presence: { address in
        guard let found = present.first(where: { $0.address == address }) else { return .absent }
        return found.tag == NetlinkTag.backEnd ? .own : .foreign
      }, connections: connections)
    var succeeded = true
    // What a killed agent served and nobody serves any more.
    for found in present
    where found.tag == NetlinkTag.backEnd && plan.standing[found.address] == nil
      && !steps.contains(.remove(found.address))
    {
      remove("address \(found.address)") { netlink throws(SystemError) in
        try netlink.remove(found.address, from: found.interface)
      }
    }
    for step in steps {
      do throws(SystemError) {
        switch step {
        case .add(let address):
          try netlink.add(address, to: loopback, tag: NetlinkTag.backEnd)
          logger.info("serving \(address)")
        case .remove(let address):
          try netlink.remove(address, from: loopback.index)
          logger.info("no longer serving \(address)")
        }
      } catch {
        if error.errno == EEXIST || error.errno == EADDRNOTAVAIL { continue }
        succeeded = false
        logger.error("changing a service address failed, to be tried again: \(error)")
      }
    }
    return succeeded
  }
}
