// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Synchronization
public import Wire

/// A running cluster in namespaces of its own. `stop` removes everything; should this process die, the next run of the
/// lab does.
public final class Cluster: Sendable {
  public let plan: ClusterPlan
  public let run: LabRun
  public let site: Site
  /// Where clients are started.
  public let client: NetworkNamespace
  public let clientAddresses: [LabAddresses.Pair]
  /// The namespace of the wire between clients and bridge, when the plan has an impairment.
  public let wire: NetworkNamespace?
  public let fabric: Fabric
  public let nodes: [ClusterNode]
  let processes = Mutex<[String: LabProcess]>([:])
  let statesBefore: [String: [String]]

  /// The document root of all web servers.
  public var documentRoot: String { plan.documents ?? "\(run.folder)/site" }

  /// Builds the network, starts every process and returns when requests get through to each front.
  public static func start(_ plan: ClusterPlan, site: Site) throws(LabError) -> Cluster {
    let run = try LabRun()
    do {
      let cluster = try Cluster(plan, site: site, run: run)
      try cluster.startAll()
      return cluster
    } catch {
      run.end()
      throw error
    }
  }

  /// Builds the network and writes the files; nothing runs yet.
  init(_ plan: ClusterPlan, site: Site, run: LabRun) throws(LabError) {
    self.plan = plan
    self.run = run
    self.site = site
    fabric = try Fabric(run: run, router: plan.router)
    let clientNetwork = plan.router == nil ? LabNetwork.near : .clients
    clientAddresses = (1...plan.clientAddresses).map { LabAddresses.client($0, in: clientNetwork) }
    if plan.impairment == nil {
      client = try fabric.attach(
        "client", addresses: clientAddresses, offloads: plan.offloads, network: clientNetwork)
      wire = nil
    } else {
      (client, wire) = try fabric.attachThroughWire("client", addresses: clientAddresses)
    }
    try Cluster.widenPorts(client)

    var nodes: [ClusterNode] = []
    var fronts = 0
    for (index, nodePlan) in plan.nodes.enumerated() {
      let address = LabAddresses.node(index + 1, in: nodePlan.network)
      var addresses = [address]
      if nodePlan.isDistributor {
        fronts += 1
        addresses.append(LabAddresses.service(fronts))
      }
      let namespace = try fabric.attach(
        nodePlan.name, addresses: addresses, offloads: plan.offloads, network: nodePlan.network)
      if plan.forwardsAtDriver, nodePlan.isDistributor { try fabric.letDriverForward(nodePlan.name) }
      let folder = "\(run.folder)/\(nodePlan.name)"
      try Folder.create(folder)
      let web = nodePlan.server.map { kind in
        WebServerInstance(
          kind: kind, port: plan.serverPort, root: plan.documents ?? "\(run.folder)/site", folder: "\(folder)/web",
          applicationPort: ClusterNode.applicationPort)
      }
      nodes.append(
        ClusterNode(
          plan: nodePlan, namespace: namespace, address: address,
          service: nodePlan.isDistributor ? LabAddresses.service(fronts) : nil, web: web, folder: folder))
    }
    self.nodes = nodes
    if plan.documents == nil { try Cluster.writeDocuments(of: site, to: "\(run.folder)/site") }
    try Cluster.write(Application.script, to: "\(run.folder)/application.py")
    var states: [String: [String]] = [:]
    if plan.front == .handoff { for node in nodes { states[node.name] = try node.networkState() } }
    statesBefore = states
  }

  deinit { run.end() }

  private static func widenPorts(_ client: NetworkNamespace) throws(LabError) {
    try client.run([
      "sysctl", "-q", "-w", "net.ipv4.ip_local_port_range=10240 65000", "net.ipv4.tcp_tw_reuse=1",
    ]).checked()
  }

  /// Where clients connect by IPv4: the fronts, or the web servers when there is none.
  public var endpoints: [Endpoint] {
    switch plan.front {
    case .direct: nodes.filter { $0.web != nil }.map { Endpoint($0.address.ipv4, plan.serverPort) }
    case .handoff, .haproxy: nodes.compactMap(\.service).map { Endpoint($0.ipv4, plan.frontPort) }
    }
  }

  /// Where clients connect by IPv6.
  public var endpoints6: [Endpoint] {
    if !plan.servesIPv6 { return [] }
    switch plan.front {
    case .direct: return nodes.filter { $0.web != nil }.map { Endpoint($0.address.ipv6, plan.serverPort) }
    case .handoff, .haproxy: return nodes.compactMap(\.service).map { Endpoint($0.ipv6, plan.frontPort) }
    }
  }

  public func node(_ name: String) throws(LabError) -> ClusterNode {
    guard let node = nodes.first(where: { $0.name == name }) else {
      throw LabError("the cluster has no node \(name)")
    }
    return node
  }

  /// A running program: `NODE` is its cluster_startup or HAProxy, `NODE/web` its web server, `NODE/app` the application.
  public func process(_ name: String) throws(LabError) -> LabProcess {
    guard let process = processes.withLock({ $0[name] }) else { throw LabError("nothing runs as \(name)") }
    return process
  }

  /// Writes what a cluster's web servers serve: the site, and a file that tells when they do.
  public static func writeDocuments(of site: Site, to folder: String) throws(LabError) {
    try site.write(below: folder)
    try write("ready\n", to: "\(folder)/ready.txt")
  }

  /// Writes a file.
  public static func write(_ text: String, to path: String) throws(LabError) {
    do {
      try FileAccess.write(Array(text.utf8), to: path)
    } catch {
      throw LabError("cannot write \(path): \(error)")
    }
  }
}
