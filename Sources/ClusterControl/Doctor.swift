// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
public import BackEndCore
public import Distributor
import LinuxKernel
import NodeChecks
import Wire

/// `clusterctl doctor`: what this host lacks for the roles that it is to have.
struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Checks, on a node itself, all that its roles need of kernel, settings, rights and web server.",
    discussion: """
      Run it as root, before the node is started or while it runs. What can be tried is tried, with the code of the roles \
      themselves, in a network namespace that ends with the trial: BPF programs are attached, queues and rules made, a \
      connection is handed to a listener. One line for each check: ok; lost (the node runs without, what is lost and what \
      to do is said); missing (it cannot run). Exit status 0 when nothing is missing, 1 otherwise.
      """)

  enum Role: String, ExpressibleByArgument, CaseIterable {
    case dispatcher, distributor
    case backEnd = "back-end"
  }

  @Option(help: ArgumentHelp("dispatcher, distributor or back-end; may be repeated.", valueName: "role"))
  var role: [Role] = []

  @Option(
    help: ArgumentHelp(
      "Internal address of the node (default: the first one of its interfaces).", valueName: "address"),
    transform: Doctor.address)
  var address: IPAddress?

  @Option(
    help: ArgumentHelp("Interface for clients' packets (default: that of the internal address).", valueName: "name"))
  var interface: String?

  @Option(help: ArgumentHelp("Port of the node's web server; needed with --role back-end.", valueName: "port"))
  var port: UInt16?

  @Option(
    help: ArgumentHelp(
      "Address that the distributor serves; may be repeated (default: the others of the interface).",
      valueName: "address"),
    transform: Doctor.address)
  var serve: [IPAddress] = []

  @Option(help: ArgumentHelp("Port that clients dial.", valueName: "port"))
  var distributorPort: UInt16 = 80

  @Option(help: ArgumentHelp("auto, direct or repair, as for cluster_startup.", valueName: "mode"))
  var serveMode: ServeMode = .auto

  @Option(help: ArgumentHelp("auto, always or never, as for cluster_startup.", valueName: "mode"))
  var tunnel: TunnelMode = .auto

  @Option(help: ArgumentHelp("auto, ring or queue, as for cluster_startup.", valueName: "path"))
  var packets: PacketPath = .auto

  @Option(help: ArgumentHelp("auto, tc or xdp, as for cluster_startup.", valueName: "hook"))
  var forwardingHook: ForwardingMode = .auto

  @Option(help: ArgumentHelp("Port of the server node for handoffs.", valueName: "port"))
  var handoffPort: UInt16 = 7001

  @Option(help: ArgumentHelp("Port of the dispatcher.", valueName: "port"))
  var controlPort: UInt16 = 7000

  @Option(help: ArgumentHelp("As for cluster_startup.", valueName: "n"))
  var maxConnections: UInt32?

  @Option(help: ArgumentHelp("As for cluster_startup.", valueName: "n"))
  var workers: Int?

  @Option(
    help: ArgumentHelp("Internal address of another node; may be repeated.", valueName: "address"),
    transform: Doctor.address)
  var peer: [IPAddress] = []

  @Flag(help: "Print one JSON object.")
  var json = false

  private static func address(_ text: String) throws -> IPAddress {
    guard let address = IPAddress(text) else {
      throw ValidationError("'\(text)' is no address. Give one such as 10.0.0.2 or 2001:db8::2.")
    }
    return address
  }

  func validate() throws {
    if role.isEmpty { throw ValidationError("Say what the node is to be: --role dispatcher, distributor or back-end.") }
    if role.contains(.backEnd), port == nil || port == 0 {
      throw ValidationError("--role back-end needs --port PORT, where the node's web server listens.")
    }
    if port != nil, !role.contains(.backEnd) { throw ValidationError("--port is for --role back-end.") }
    if !serve.isEmpty, !role.contains(.distributor) { throw ValidationError("--serve is for --role distributor.") }
    if let workers, !(1...64).contains(workers) { throw ValidationError("--workers: give 1 to 64.") }
    if let maxConnections, maxConnections < 64 { throw ValidationError("--max-connections: give 64 or more.") }
  }

  func run() throws {
    let report = DoctorReport(Examination(self).findings())
    StandardStream.output.write(json ? report.json : report.text)
    if !report.canRun { throw ExitCode.failure }
  }
}

extension ServeMode: ExpressibleByArgument {}
extension TunnelMode: ExpressibleByArgument {}
extension PacketPath: ExpressibleByArgument {}
extension ForwardingMode: ExpressibleByArgument {}
