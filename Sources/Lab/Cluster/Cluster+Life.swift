// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxKernel
import Synchronization
import Wire

extension Cluster {
  func startAll() throws(LabError) {
    if plan.impairment != nil { try startWire() }
    for node in nodes { try startWeb(of: node) }
    for node in nodes { try waitForWeb(of: node) }
    for node in nodes { try startFront(of: node) }
    try waitUntilServing()
  }

  /// Starts the web server and the application of a node.
  public func startWeb(of node: ClusterNode) throws(LabError) {
    guard let web = node.web else { return }
    if let program = plan.serverProgram { return try program.start(at: node, of: self) }
    try Folder.create(web.folder)
    try Cluster.write(web.configuration, to: web.configurationFile)
    try Command.run(["chown", "-R", "www-data:www-data", web.folder]).checked()
    if plan.hasApplication {
      let application = Application.command(
        script: "\(run.folder)/application.py", port: ClusterNode.applicationPort)
      try start("\(node.name)/app", application, in: node, asUser: true)
    }
    try start("\(node.name)/web", web.command, in: node, asUser: true, environment: web.environment)
  }

  /// Starts what stands before the web servers on this node.
  public func startFront(of node: ClusterNode) throws(LabError) {
    switch plan.front {
    case .direct: return
    case .haproxy:
      guard let service = node.service else { return }
      if let program = plan.frontProgram { return try program.start(at: node, of: self) }
      let file = "\(node.folder)/haproxy.cfg"
      let text = HAProxy.configuration(
        listeners: [Endpoint(service.ipv4, plan.frontPort), Endpoint(service.ipv6, plan.frontPort)],
        servers: nodes.filter { $0.web != nil }.map { Endpoint($0.address.ipv4, plan.serverPort) })
      try Cluster.write(text, to: file)
      try start(node.name, ["haproxy", "-db", "-f", file], in: node)
    case .handoff:
      guard let dispatcher = nodes.first(where: \.plan.isDispatcher)?.address else {
        throw LabError("the plan has no dispatcher")
      }
      let program = try LabTools.path(of: "cluster_startup")
      guard let command = node.startupCommand(program, plan, dispatcher: dispatcher) else { return }
      try start(node.name, command, in: node)
    }
  }

  private func startWire() throws(LabError) {
    guard let wire, let impairment = plan.impairment else { return }
    let file = "\(run.folder)/impairment.json"
    try Cluster.write(try impairment.json(), to: file)
    let command = [
      try LabTools.path(of: "lab"), "wire", "--inside", "inside", "--outside", "outside", "--impairment", file,
    ]
    let process = try wire.start(name: "wire", command, logFile: "\(run.folder)/wire.log")
    processes.withLock { $0["wire"] = process }
  }

  /// Starts a program at a node; it is found as `name` and ended with the cluster.
  ///
  /// - Parameter asUser: as `www-data` instead of root.
  public func start(
    _ name: String, _ command: [String], in node: ClusterNode, asUser: Bool = false,
    environment: [String: String] = [:]
  ) throws(LabError) {
    let user = asUser ? ["setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups"] : []
    let log = "\(run.folder)/\(name.replacing("/", with: "-")).log"
    let process = try LabRun.unlessEnding { () throws(LabError) in
      try node.namespace.start(name: name, user + command, environment: environment, directory: "/", logFile: log)
    }
    processes.withLock { $0[name] = process }
  }

  func waitForWeb(of node: ClusterNode) throws(LabError) {
    guard let web = node.web else { return }
    let loopback = IPAddress(ipv4: 0x7f00_0001)
    let hasApplication = plan.hasApplication && plan.serverProgram == nil
    let name = "\(node.name)/web"
    for path in ["/ready.txt"] + (hasApplication ? ["/app/hello"] : []) {
      try HTTPProbe.waitUntilReady(path, at: Endpoint(loopback, web.port), in: node.namespace, within: 20) {
        () throws(LabError) in try self.checkAlive(name)
      }
    }
  }

  /// Waits until every process says that it is healthy and a request from the client gets through each front.
  public func waitUntilServing(within seconds: Double = 20) throws(LabError) {
    if plan.front == .handoff {
      for node in nodes {
        try HTTPProbe.waitUntilReady("/healthz", at: ClusterNode.admin, in: node.namespace, within: seconds) {
          () throws(LabError) in try self.checkAlive(node.name)
        }
      }
      for node in nodes where node.web != nil { try waitForRegistration(of: node, within: seconds) }
    }
    for endpoint in endpoints + endpoints6 {
      try HTTPProbe.waitUntilReady("/ready.txt", at: endpoint, in: client, within: seconds) {
        () throws(LabError) in for node in self.nodes where self.hasFront(node) { try self.checkAlive(node.name) }
      }
    }
  }

  private func waitForRegistration(of node: ClusterNode, within seconds: Double) throws(LabError) {
    do {
      let names = ["dispatcher_connected", "server_up", "served_addresses"].map { "handoff_backend_\($0)" }
      let wanted = [1, 1, Double(2 * nodes.compactMap(\.service).count)]
      _ = try Eventually.within(seconds) {
        let metrics = try self.metrics(of: node)
        return names.map { (name: $0, value: metrics[$0]) }
      } until: { seen in
        zip(seen, wanted).allSatisfy { $0.value >= $1 }
      }
    } catch {
      throw LabError("\(node.name) did not register at the dispatcher and take up the served addresses: \(error)")
    }
  }

  private func hasFront(_ node: ClusterNode) -> Bool { processes.withLock { $0[node.name] != nil } }

  private func checkAlive(_ name: String) throws(LabError) {
    let process = try process(name)
    if let status = process.status {
      throw LabError("\(name) ended with \(status). Its log: \(process.log())")
    }
  }

  /// What /metrics of a node's cluster_startup says now.
  public func metrics(of node: ClusterNode) throws(LabError) -> Metrics {
    Metrics(parsing: try HTTPProbe.get("/metrics", at: ClusterNode.admin, in: node.namespace).body)
  }

  /// Ends the cluster's own processes by SIGTERM and tells what they left behind or how they ended badly. Web servers
  /// go on running.
  public func stopFronts() throws(LabError) -> [String] {
    guard plan.front == .handoff else { return [] }
    var complaints: [String] = []
    let running = processes.withLock { table in nodes.compactMap { table[$0.name] } }
    for process in running { process.signal(SIGTERM) }
    for process in running {
      if process.wait(seconds: 15)?.isSuccess != true {
        complaints.append("\(process.name) did not end cleanly after SIGTERM: \(process.terminate(grace: 0))")
      }
    }
    for node in nodes {
      let before = statesBefore[node.name] ?? []
      let after = try node.networkState()
      for line in after where !before.contains(line) { complaints.append("\(node.name) left: \(line)") }
      for line in before where !after.contains(line) { complaints.append("\(node.name) removed: \(line)") }
    }
    return complaints
  }

  /// Stops everything and removes namespaces and files. Returns complaints: what was left behind.
  @discardableResult
  public func stop() -> [String] {
    var complaints: [String] = []
    do {
      complaints += try stopFronts()
    } catch {
      complaints.append("\(error)")
    }
    let all = processes.withLock { table in
      defer { table.removeAll() }
      return Array(table.values)
    }
    for process in all { process.signal(SIGTERM) }
    for process in all { process.terminate(grace: 1) }
    return complaints + run.end()
  }
}
