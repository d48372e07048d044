// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ControlProtocol
import DispatcherCore
import Distributor
import Handoff
import Logging
import Rules
import Telemetry
import Wire

extension NodeConfiguration {
  /// Checks options and file together and reports everything that is wrong.
  init(checking values: SettingValues) throws(ConfigurationProblems) {
    var check = SettingCheck(values)
    let roles: Set<NodeRole> = Set(check.list(.roles, .word("role")))
    check.roles(roles)

    internalAddress = check.value(.internalAddress, .address)
    let serve = check.served(internalAddress: internalAddress)
    nodeName = check.value(.nodeName, .nodeName)
    interface = check.value(.interface, .interface)
    controlPort = check.value(.controlPort, .port) ?? 7000
    let maximum: UInt32? = check.value(.maxConnections, .integer("number of connections", 1...4_000_000))
    workers = check.value(.workers, .integer("number of workers", 1...64))
    admin = check.value(.admin, .optionalEndpoint) ?? Endpoint(IPAddress(ipv4: 0x7f00_0001), 7010)
    drainSeconds = check.value(.drainSeconds, .seconds(0...86_400)) ?? 30
    log = LogSettings(
      level: check.value(.logLevel, .word("log level")) ?? .info,
      format: check.value(.logFormat, .word("log format")) ?? .text)

    let policy = check.dispatcherSettings()
    let host = check.value(.dispatcher, .host)
    if roles.contains(.dispatcher) {
      dispatcher = .here(policy)
    } else {
      if host == nil, !roles.isEmpty { check.missing(.dispatcher) }
      dispatcher = .elsewhere(host: host ?? "")
    }
    backEnd = roles.contains(.backEnd) ? check.backEndSettings(maximum) : nil
    distributor = roles.contains(.distributor) ? check.distributorSettings(serve, maximum, workers) : nil
    check.ports(controlPort: controlPort, admin: admin, backEnd: backEnd, isDispatcher: roles.contains(.dispatcher))
    if !check.problems.isEmpty { throw ConfigurationProblems(inOrder: check.problems) }
  }
}

/// Reads values and gathers what is wrong with them.
private struct SettingCheck {
  let values: SettingValues
  var problems: [ConfigurationProblem] = []

  init(_ values: SettingValues) { self.values = values }

  mutating func list<Value>(_ setting: Setting, _ parser: ValueParser<Value>) -> [Value] {
    var result: [Value] = []
    for value in values[setting] {
      if let parsed = parser.parse(value.text) {
        result.append(parsed)
      } else {
        problems.append(ConfigurationProblem(value, of: setting, parser.problem, remedy: parser.remedy))
      }
    }
    return result
  }

  /// The value, nil when there is none or a wrong one; of several options the last counts.
  mutating func value<Value>(_ setting: Setting, _ parser: ValueParser<Value>) -> Value? {
    list(setting, parser).last
  }

  mutating func report(_ setting: Setting, _ problem: String, remedy: String) {
    let place = values[setting].last.map { "\($0.source)" } ?? ""
    problems.append(ConfigurationProblem(place, problem, remedy: remedy))
  }

  mutating func missing(_ setting: Setting) {
    guard values[setting].isEmpty else { return }
    switch setting {
    case .dispatcher:
      report(
        setting, "A node without the dispatcher must know where it is, but -da is missing",
        remedy: "Add '-da HOST' with the node that runs 'cluster_startup -D', or -D to run it here")
    case .distributorPort:
      report(
        setting, "-FE needs the port that clients dial, but -fp is missing", remedy: "Add '-fp PORT', such as -fp 80")
    case .serverPort:
      report(
        setting, "-BE needs the port of this node's web server, but -bp is missing",
        remedy: "Add '-bp PORT', such as -bp 8080")
    default: report(setting, "\(setting.option) is missing", remedy: "Add it")
    }
  }

  mutating func roles(_ roles: Set<NodeRole>) {
    if values[.roles].isEmpty {
      report(
        .roles, "No role was given",
        remedy: "Use one or more of -D (dispatcher), -FE (distributor), -BE (server node), or 'roles' in the file")
    }
    // A file may be the same on all nodes; an option without effect is a slip.
    for setting in Setting.allCases where !setting.readers.isEmpty && setting.readers.isDisjoint(with: roles) {
      guard !roles.isEmpty, let value = values[setting].first, case .option(let name) = value.source else { continue }
      let flags = setting.readers.sorted().map(\.flag).joined(separator: " or ")
      let problem = "has no effect without \(flags)"
      problems.append(ConfigurationProblem(name, problem, remedy: "Add the role or remove the option"))
    }
    if roles.contains(.dispatcher), let value = values[.dispatcher].first, case .option = value.source {
      report(
        .dispatcher, "The dispatcher is said to be elsewhere, but -D runs it here",
        remedy: "Remove one of them: a cluster has one dispatcher")
    }
  }

  mutating func served(internalAddress: IPAddress?) -> [IPAddress] {
    var served: [IPAddress] = []
    let parser = ValueParser<IPAddress>.address
    for value in values[.serve] {
      func report(_ problem: String, _ remedy: String) {
        problems.append(ConfigurationProblem(value, of: .serve, problem, remedy: remedy))
      }
      guard let address = parser.parse(value.text) else {
        let isMode = ServeMode(rawValue: value.text) != nil
        report(parser.problem, isMode ? "How a server node serves is said with --serve-mode" : parser.remedy)
        continue
      }
      if served.contains(address) { report("is served twice", "Remove one") }
      if address.isLoopback || address.isLinkLocal {
        report("cannot be served: clients reach it only on their own host or link", "Serve an address that is routed")
      }
      if address == internalAddress { problems.append(.servedInternally(address, place: "\(value.source)")) }
      served.append(address)
    }
    return served
  }

  mutating func dispatcherSettings() -> DispatcherSettings {
    let load = ValueParser<UInt32>.integer("load in connections", 1...1_000_000)
    let before = problems.count
    let settings = DispatcherSettings(
      policy: value(.policy, .word("policy")) ?? .lard, tLow: value(.tLow, load) ?? 25,
      tHigh: value(.tHigh, load) ?? 65,
      admission: value(.admission, .admission) ?? .unlimited, leases: leases(), rules: rules())
    if problems.count == before, settings.tLow >= settings.tHigh {
      report(
        values[.tHigh].isEmpty ? .tLow : .tHigh,
        "t-low (\(settings.tLow)) must be less than t-high (\(settings.tHigh))",
        remedy: "Back-ends below t-low count as idle, above t-high as busy: give both")
    }
    return settings
  }

  mutating func leases() -> LeaseTerms {
    let seconds = value(.leaseTime, .seconds(0.001...60)) ?? 60
    return LeaseTerms(
      credits: value(.leaseCredits, .integer("number of requests", 0...10_000)) ?? 32, time: UInt64(seconds * 1e9))
  }

  mutating func backEndSettings(_ maximum: UInt32?) -> BackEndSettings {
    missing(.serverPort)
    return BackEndSettings(
      serverPort: value(.serverPort, .port) ?? 0, handoffPort: value(.handoffPort, .port) ?? 7001,
      weight: value(.weight, .integer("weight", 1...10_000)) ?? 100, pools: pools(),
      tunnel: value(.tunnel, .word("tunnel mode")) ?? .auto,
      handoffs: value(.handoffs, .word("handoff path")) ?? .auto, maximumConnections: maximum ?? 100_000,
      serveMode: value(.serveMode, .word("serve mode")) ?? .auto)
  }

  mutating func rules() -> [Rule] {
    guard let value = values[.rules].last else { return [] }
    do throws(ConfigurationProblems) {
      return try RulesFile.load(value.text, place: "\(value.source)")
    } catch {
      problems += error.all
      return []
    }
  }

  mutating func pools() -> [String] {
    let pools = list(.pool, .poolName)
    if pools.count > ControlProtocolLimit.pools {
      report(
        .pool, "\(pools.count) pools are more than a node can be in",
        remedy: "Give at most \(ControlProtocolLimit.pools)")
    }
    return pools
  }

  mutating func distributorSettings(
    _ serve: [IPAddress], _ maximum: UInt32?, _ workers: Int?
  ) -> DistributorSettings {
    missing(.distributorPort)
    let settings = DistributorSettings(
      port: value(.distributorPort, .port) ?? 0, serve: serve,
      queueNumber: value(.queueNumber, .integer("queue number", 0...65_535)) ?? 0,
      handshake: value(.handshake, .word("handshake mode")) ?? .auto,
      packets: value(.packets, .word("packet path")) ?? .auto,
      forwarding: value(.forwardingHook, .word("forwarding hook")) ?? .auto,
      tunnel: value(.tunnel, .word("tunnel mode")) ?? .auto,
      handoffs: value(.handoffs, .word("handoff path")) ?? .auto, maximumFlows: maximum ?? 262_144,
      headTimeout: UInt64((value(.headTimeout, .seconds(0.1...3_600)) ?? 10) * 1e9))
    if Int(settings.queueNumber) + (workers ?? 1) > 65_536 {
      report(
        .queueNumber, "\(workers ?? 1) workers from queue \(settings.queueNumber) on go beyond queue 65535",
        remedy: "Give a smaller --queue-number")
    }
    return settings
  }

  /// Two of this process's own listeners cannot share a port, nor can the agent and the web server.
  mutating func ports(controlPort: UInt16, admin: Endpoint?, backEnd: BackEndSettings?, isDispatcher: Bool) {
    var uses: [(setting: Setting, port: UInt16)] = []
    if isDispatcher { uses.append((.controlPort, controlPort)) }
    if let backEnd { uses += [(.serverPort, backEnd.serverPort), (.handoffPort, backEnd.handoffPort)] }
    if let admin { uses.append((.admin, admin.port)) }
    for (index, use) in uses.enumerated() where use.port != 0 {
      guard let other = uses[..<index].first(where: { $0.port == use.port }) else { continue }
      let place = values[use.setting].isEmpty ? other.setting : use.setting
      report(
        place, "\(use.setting.option) and \(other.setting.option) are both port \(use.port)",
        remedy: "Give one of them another port")
    }
  }
}

extension ConfigurationProblem {
  static func servedInternally(_ address: IPAddress, place: String) -> ConfigurationProblem {
    ConfigurationProblem(
      place, "\(address) is this node's internal address and cannot be served",
      remedy: "Server nodes take over every served address, so control connections to it would end at the wrong node: "
        + "give the interface another address and serve that one with --serve")
  }
}
