// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
public import Lab

extension WebServer: ExpressibleByArgument {}
extension ClusterPlan.Front: ExpressibleByArgument {}
extension ClusterPlan.Placement: ExpressibleByArgument {}

/// What cluster to start.
struct ShapeOptions: ParsableArguments {
  @Option(help: "What stands between clients and web servers: handoff, direct or haproxy.")
  var front: ClusterPlan.Front = .handoff

  @Option(help: "Which roles share a machine: separate, coLocated or together.")
  var placement: ClusterPlan.Placement = .separate

  @Option(help: "Distributors.")
  var distributors = 2

  @Option(help: ArgumentHelp("Web server of each server node, in order.", valueName: "nginx|apache|caddy|lighttpd"))
  var server: [WebServer] = []

  @Option(help: "The dispatcher's policy.")
  var policy = "lard"

  @Option(help: ArgumentHelp("How server nodes serve.", valueName: "auto|direct|repair"))
  var serve = "auto"

  @Option(help: "Log level of the cluster's processes.")
  var logLevel = "info"

  @Option(help: "Addresses that clients dial from.")
  var clientAddresses = 4

  @Option(help: "Pages of the generated site.")
  var pages = 2000

  @Option(help: "Seed of site and requests.")
  var seed: UInt64 = 1

  @Option(help: ArgumentHelp("JSON file that says what a bad network does to segments.", valueName: "file"))
  var impairment: String?

  @Flag(help: "No segmentation or checksum offload: frames as on a real wire.")
  var noOffloads = false

  @Option(help: ArgumentHelp("An option for every cluster_startup, as NAME=VALUE.", valueName: "option"))
  var startup: [String] = []

  @Option(help: ArgumentHelp("The dispatcher's --lease-credits.", valueName: "n"))
  var leaseCredits: UInt16?

  @Option(help: ArgumentHelp("Who answers handshakes at the distributors.", valueName: "auto|kernel|user"))
  var handshake: String?

  @Option(help: ArgumentHelp("How packets come to the distributors' workers.", valueName: "auto|ring|queue"))
  var packets: String?

  @Option(help: ArgumentHelp("Where distributors forward.", valueName: "auto|tc|xdp"))
  var forwardingHook: String?

  @Flag(help: "Network settings with which distributors can forward at their driver; needed for --forwarding-hook xdp.")
  var driverSettings = false

  func plan() throws -> ClusterPlan {
    let servers = server.isEmpty ? WebServer.allCases : server
    guard (1...200).contains(distributors), (1...200).contains(clientAddresses), servers.count <= 200 else {
      throw ValidationError("the address plan has room for 1 to 200 of each kind")
    }
    guard placement == .separate || distributors <= servers.count else {
      throw ValidationError("--placement \(placement.rawValue) needs a server node for each distributor")
    }
    var plan = ClusterPlan(front: front, placement: placement, distributors: distributors, servers: servers)
    plan.policy = policy
    plan.serve = serve
    plan.logLevel = logLevel
    plan.clientAddresses = clientAddresses
    plan.offloads = !noOffloads
    plan.impairment = try impairment.map { try Impairment.load($0) }
    plan.extraOptions = startup.flatMap { text in
      text.split(separator: "=", maxSplits: 1).enumerated().map { $0.offset == 0 ? "--\($0.element)" : "\($0.element)" }
    }
    if let leaseCredits { plan.dispatcherOptions += ["--lease-credits", "\(leaseCredits)"] }
    if let handshake { plan.distributorOptions += ["--handshake", handshake] }
    if let packets { plan.distributorOptions += ["--packets", packets] }
    if let forwardingHook { plan.distributorOptions += ["--forwarding-hook", forwardingHook] }
    plan.forwardsAtDriver = driverSettings
    return plan
  }

  var site: Site { Site.generate(seed: seed, pages: pages) }
}
