// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel
import Testing
import Wire

/// What the tests of failures do to a cluster and ask it.
enum FailureCluster {
  static let site = Site.generate(seed: 20_261_122, pages: 60, maximumSize: 64 << 10, maximumTotal: 1 << 20)
  /// Long enough that no buffer on the way holds one.
  static let downloads = ["/large-a.bin", "/large-b.bin"]
  static let downloadBytes = 48 << 20

  /// Runs the test on a cluster of its own. Afterwards nothing may be left of it.
  static func with(_ plan: ClusterPlan, _ body: (Cluster) throws -> Void) throws {
    let cluster = try Cluster.start(plan, site: site)
    do {
      for path in downloads {
        try Command.run(["truncate", "-s", "\(downloadBytes)", cluster.documentRoot + path]).checked()
      }
      try body(cluster)
    } catch {
      let logs = cluster.nodes.compactMap { try? cluster.process($0.name).log(last: 2000) }
      _ = cluster.stop()
      throw LabError("\(error)\n\(logs.joined(separator: "\n--\n"))")
    }
    #expect(cluster.stop() == [])
  }

  /// Round robin unless the test says otherwise: LARD keeps to the node that has a page, so that a node which comes back
  /// may get nothing for a long time.
  static func plan(_ servers: [WebServer], policy: String = "wrr", options: [String] = []) -> ClusterPlan {
    var plan = ClusterPlan(servers: servers)
    plan.policy = policy
    plan.extraOptions = options
    plan.serve = ServeChoice.serve
    return plan
  }
}

extension Cluster {
  func metric(_ node: String, _ name: String, _ labels: [String: String] = [:]) throws -> Double {
    try metrics(of: self.node(node))[name, labels]
  }

  /// Waits until a metric of a node has the value.
  func wait(
    for node: String, _ name: String, _ labels: [String: String] = [:], within seconds: Double = 15,
    _ isRight: (Double) -> Bool
  ) throws {
    do {
      // Metrics are copied out every 50 ms.
      _ = try Eventually.within(seconds) {
        try self.metric(node, name, labels)
      } until: {
        isRight($0)
      }
    } catch {
      throw LabError("\(name)\(labels) of \(node): \(error)")
    }
  }

  func waitForLog(_ name: String, _ text: String, within seconds: Double = 10) throws {
    let process = try process(name)
    do {
      _ = try Eventually.within(seconds) {
        process.log().contains(text)
      } until: {
        $0
      }
    } catch {
      throw LabError("the log of \(name) does not say '\(text)': \(process.log())")
    }
  }

  /// Asks for every page of the site, each on a connection of its own; returns the longest time in seconds.
  @discardableResult
  func getAllPages() throws -> Double {
    try site.pages.map { try get($0.path) }.max() ?? 0
  }

  /// Every page, then a large upload and a large download in each family, checked byte by byte: uploads make long packets of
  /// joined segments, downloads many acknowledgments.
  func exchangeLargeBodies() throws {
    try getAllPages()
    let bytes = site.content(of: TestSite.medium).bytes(from: 0, count: 5 << 20)
    try FileAccess.write(bytes, to: "\(documentRoot)/five.bin")
    let digest = try Command.run(["sha256sum"], input: bytes).output.prefix(64)
    for endpoint in [endpoints[0], endpoints6[0]] {
      let result = try client.run(
        [
          "curl", "-sS", "-m", "30", "-H", "Expect:", "--data-binary", "@-", "http://\(endpoint)/app/digest",
          "--next", "-sS", "-m", "30", "http://\(endpoint)/five.bin",
        ], input: bytes)
      #expect(result.isSuccess, "\(endpoint): \(result.errorOutput)")
      #expect(result.standardOutput == Array("\(bytes.count) \(digest)\n".utf8) + bytes, "\(endpoint)")
    }
  }

  /// `seconds` on a machine with nothing else to do, in seconds of this one: a request that waits for something that does
  /// not come is longer than both. Ask before the fault.
  func bound(_ seconds: Double) throws -> Double { seconds + 30 * (try getAllPages()) }

  func startFronts(_ names: [String]) throws {
    for name in names { try startFront(of: node(name)) }
  }

  /// Server nodes that have relayed connections open.
  func nodesWithConnections() throws -> [String] {
    try nodes.filter { $0.web != nil }.map(\.name).filter {
      try metric($0, "handoff_backend_connections_active") > 0
    }
  }

  /// Two paused downloads, one at each of two server nodes, by node.
  func downloadsOnBothNodes() throws -> [String: FailureClient] {
    var result: [String: FailureClient] = [:]
    // An end is told a moment later: what was asked before would be taken for the download.
    _ = try Eventually.within(10) {
      try nodesWithConnections()
    } until: {
      $0.isEmpty
    }
    for path in FailureCluster.downloads {
      let client = try pausedDownload(path)
      let found = try Eventually.within(10) {
        try nodesWithConnections().filter { result[$0] == nil }
      } until: {
        $0.count == 1
      }
      result[found[0]] = client
    }
    return result
  }

  /// Resident memory of a process in bytes, now and at its highest.
  func memory(of process: LabProcess) throws -> (now: Int, peak: Int) {
    let text = String(decoding: try FileAccess.read("/proc/\(process.pid)/status"), as: UTF8.self)
    func field(_ name: String) -> Int {
      let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
      return (line.flatMap { Int($0.filter(\.isNumber)) } ?? 0) << 10
    }
    return (field("VmRSS:"), field("VmHWM:"))
  }

  func openDescriptors(of process: LabProcess) throws -> Int {
    try Command.run(["ls", "/proc/\(process.pid)/fd"]).checked().output.split(separator: "\n").count
  }
}
