// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The command line. Values stay texts here: they are checked together with the configuration file.
struct StartupOptions: ParsableArguments {
  @Flag(name: .customShort("D"), help: "Run the dispatcher on this node.")
  var dispatcherRole = false

  @Flag(name: .customLong("FE", withSingleDash: true), help: "Run a distributor (front-end) on this node.")
  var distributorRole = false

  @Flag(name: .customLong("BE", withSingleDash: true), help: "Run a server node (back-end) here.")
  var backEndRole = false

  @Option(
    name: [.customLong("fp", withSingleDash: true), .customLong("distributor-port")],
    help: ArgumentHelp("Port that clients dial; needed with -FE.", valueName: "port"))
  var distributorPort: String?

  @Option(
    name: [.customLong("bp", withSingleDash: true), .customLong("server-port")],
    help: ArgumentHelp("Port of this node's web server; needed with -BE.", valueName: "port"))
  var serverPort: String?

  @Option(
    name: [.customLong("da", withSingleDash: true), .customLong("dispatcher")],
    help: ArgumentHelp("Name or address of the dispatcher's node; needed without -D.", valueName: "host"))
  var dispatcher: String?

  @Option(help: ArgumentHelp("YAML file with any of these settings; options win.", valueName: "file"))
  var config: String?

  @Option(help: ArgumentHelp("Name of this node, unique in the cluster (default: the host's name).", valueName: "name"))
  var nodeName: String?

  @Option(
    help: ArgumentHelp(
      "This node's address for control connections (default: the one that reaches the dispatcher).",
      valueName: "address"))
  var internalAddress: String?

  @Option(
    help: ArgumentHelp(
      "Address that the distributor serves; may be repeated (default: the interface's addresses except the internal "
        + "one).", valueName: "address"))
  var serve: [String] = []

  @Option(
    help: ArgumentHelp(
      "How a server node serves: direct (its web server accepts the connections itself), repair (they are relayed to it) "
        + "or auto, which is direct where that is possible (default: auto).", valueName: "mode"))
  var serveMode: String?

  @Option(
    help: ArgumentHelp(
      "Interface of clients' packets (default: the one that has the internal address).", valueName: "name"))
  var interface: String?

  @Option(help: ArgumentHelp("Port of the dispatcher (default: 7000).", valueName: "port"))
  var controlPort: String?

  @Option(help: ArgumentHelp("Port where a server node takes handoffs (default: 7001).", valueName: "port"))
  var handoffPort: String?

  @Option(
    help: ArgumentHelp(
      "Where /metrics and /healthz are served, or 'none' (default: 127.0.0.1:7010).", valueName: "address:port"))
  var admin: String?

  @Option(
    help: ArgumentHelp("wrr, lc, hash, bounded, lard, lardr, elard or alard (default: lard).", valueName: "policy"))
  var policy: String?

  @Option(help: ArgumentHelp("Connections below which a back-end counts as idle (default: 25).", valueName: "load"))
  var tLow: String?

  @Option(help: ArgumentHelp("Connections above which a back-end counts as busy (default: 65).", valueName: "load"))
  var tHigh: String?

  @Option(
    help: ArgumentHelp(
      "Connections of the whole cluster: unlimited, a number, or thresholds for what t-low and t-high imply (default: "
        + "unlimited).", valueName: "limit"))
  var admission: String?

  @Option(
    help: ArgumentHelp(
      "Requests that a distributor's worker may send to a server node before it asks again; 0: always ask "
        + "(default: 32).", valueName: "n"))
  var leaseCredits: String?

  @Option(
    help: ArgumentHelp(
      "How long a distributor may remember where a target goes (default: 1).", valueName: "seconds"))
  var leaseTime: String?

  @Option(
    help: ArgumentHelp(
      "YAML file of rules that select pools of back-ends or make requests sticky; SIGHUP reads it again.",
      valueName: "file"))
  var rules: String?

  @Option(help: ArgumentHelp("Capacity of this server node; 100 is an average one (default: 100).", valueName: "n"))
  var weight: String?

  @Option(help: ArgumentHelp("Pool that this server node is in; may be repeated (default: none).", valueName: "name"))
  var pool: [String] = []

  @Option(
    help: ArgumentHelp(
      "Most connections of a server node (default: 100000), most handed-off ones of a distributor (default: 262144).",
      valueName: "n"))
  var maxConnections: String?

  @Option(help: ArgumentHelp("Event loops of each role that has several (default: one per processor).", valueName: "n"))
  var workers: String?

  @Option(
    help: ArgumentHelp("NFQUEUE number of the first worker; the others follow (default: 0).", valueName: "n"))
  var queueNumber: String?

  @Option(
    help: ArgumentHelp(
      "Who answers handshakes: kernel (BPF), user, or auto for kernel where it can (default: auto).",
      valueName: "mode"))
  var handshake: String?

  @Option(
    help: ArgumentHelp(
      "How packets come to user space: ring (BPF), queue (NFQUEUE), or auto for ring where it can (default: auto).",
      valueName: "path"))
  var packets: String?

  @Option(
    help: ArgumentHelp(
      "Where packets of handed-off connections are forwarded: tc, xdp (at the driver), or auto for xdp where that is faster (default: auto).",
      valueName: "hook"))
  var forwardingHook: String?

  @Option(
    help: ArgumentHelp(
      "Tunnels to server nodes: always, never, or auto for those that are no neighbours of the distributor (default: auto).",
      valueName: "mode"))
  var tunnel: String?

  @Option(
    help: ArgumentHelp(
      "Handoffs to server nodes: auto, which is one packet to the node's kernel where that is possible, or message, always to its agent (default: auto).",
      valueName: "path"))
  var handoffs: String?

  @Option(
    help: ArgumentHelp("Time for a client to send a whole request head (default: 10).", valueName: "seconds"))
  var headTimeout: String?

  @Option(
    help: ArgumentHelp("Time for connections to end after SIGTERM (default: 30).", valueName: "seconds"))
  var drainSeconds: String?

  @Option(
    help: ArgumentHelp(
      "trace, debug, info, notice, warning, error or critical (default: info).", valueName: "level"))
  var logLevel: String?

  @Option(help: ArgumentHelp("text or json (default: text).", valueName: "format"))
  var logFormat: String?

  @Flag(help: "Check configuration and environment, print what would start, and exit with 0 or 1.")
  var check = false
}

extension StartupOptions {
  /// What was given, by setting.
  var values: SettingValues {
    var values = SettingValues()
    for (role, isGiven) in [
      (NodeRole.dispatcher, dispatcherRole), (.backEnd, backEndRole), (.distributor, distributorRole),
    ] where isGiven {
      values.append(role.rawValue, for: .roles, from: .option(role.flag))
    }
    for address in serve { values.append(address, for: .serve, from: .option(Setting.serve.option)) }
    for name in pool { values.append(name, for: .pool, from: .option(Setting.pool.option)) }
    for setting in Setting.allCases {
      if let text = text(of: setting) { values.append(text, for: setting, from: .option(setting.option)) }
    }
    return values
  }

  private func text(of setting: Setting) -> String? {
    switch setting {
    case .roles, .serve, .pool: nil
    case .distributorPort: distributorPort
    case .serverPort: serverPort
    case .dispatcher: dispatcher
    case .nodeName: nodeName
    case .internalAddress: internalAddress
    case .serveMode: serveMode
    case .interface: interface
    case .controlPort: controlPort
    case .handoffPort: handoffPort
    case .admin: admin
    case .policy: policy
    case .tLow: tLow
    case .tHigh: tHigh
    case .admission: admission
    case .leaseCredits: leaseCredits
    case .leaseTime: leaseTime
    case .rules: rules
    case .weight: weight
    case .maxConnections: maxConnections
    case .workers: workers
    case .queueNumber: queueNumber
    case .handshake: handshake
    case .packets: packets
    case .tunnel: tunnel
    case .forwardingHook: forwardingHook
    case .handoffs: handoffs
    case .headTimeout: headTimeout
    case .drainSeconds: drainSeconds
    case .logLevel: logLevel
    case .logFormat: logFormat
    }
  }
}
