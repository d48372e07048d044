// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel
import Testing
import Wire

extension IntegrationTests {
  /// Rules of the dispatcher's file, seen where they end: in the web servers' access logs.
  @Suite(.serialized)
  struct RulesTests {
    private static let rules = """
      - host: api.lab
        pool: api
      - path: /app/
        pool: app
      - path: /fixed/
        sticky: cookie sid
        lifetime: 600
      """

    @Test func poolsAndStickySessions() throws {
      let file = "/tmp/hq-rules-\(getpid()).yaml"
      try write(RulesTests.rules, file)
      defer { _ = unsafe unlink(file) }
      var plan = ClusterPlan(distributors: 2, servers: [.nginx, .nginx, .nginx])
      for index in plan.nodes.indices {
        switch plan.nodes[index].name {
        case "be1": plan.nodes[index].options = ["--pool", "api"]
        case "be2": plan.nodes[index].options = ["--pool", "app", "--pool", "other"]
        case "dispatcher": plan.nodes[index].options = ["--rules", file]
        default: break
        }
      }
      let cluster = try Cluster.start(plan, site: TestSite.site)
      do {
        try check(cluster, file)
      } catch {
        let logs = cluster.nodes.compactMap { try? cluster.process($0.name).log(last: 2000) }
        _ = cluster.stop()
        throw LabError("\(error)\n\(logs.joined(separator: "\n--\n"))")
      }
      #expect(cluster.stop() == [])
    }

    private func check(_ cluster: Cluster, _ file: String) throws {
      // A host of its own pool, whatever the page; both families, both distributors.
      for (index, endpoint) in (cluster.endpoints + cluster.endpoints6).enumerated() {
        for page in TestSite.site.pages.prefix(6) {
          let node = try serving(cluster, endpoint, page.path, "host\(index)", ["-H", "Host: API.lab:80"])
          #expect(node == "be1", "\(endpoint) \(page.path)")
        }
      }
      // A path prefix.
      for index in 0..<6 {
        #expect(try serving(cluster, cluster.endpoints[index % 2], "/app/hello", "path\(index)") == "be2")
      }
      // Without a rule everybody serves.
      let open = try Set(
        TestSite.site.pages.prefix(30).map { try serving(cluster, cluster.endpoints[0], $0.path, "open") })
      #expect(open.count == 3)

      // Sessions: each cookie keeps its node whatever it asks for and through which distributor, and the nodes differ.
      // Each session's first request comes without the cookie, from an address of its own: it makes the session.
      var nodes: Set<String> = []
      for session in 0..<4 {
        let client = cluster.clientAddresses[session % cluster.clientAddresses.count].ipv4
        let first = try serving(
          cluster, cluster.endpoints[0], "/fixed/empty.bin", "new\(session)", ["--interface", "\(client)"])
        nodes.insert(first)
        for request in 0..<5 {
          let node = try serving(
            cluster, cluster.endpoints[request % 2], "/fixed/empty.bin?r=\(request)", "s\(session)",
            ["--interface", "\(client)", "-H", "Cookie: a=b; sid=session-\(session)"])
          #expect(node == first, "session \(session), request \(request)")
        }
      }
      // The session follows its cookie to another address.
      let moved = cluster.clientAddresses[1].ipv4
      let home = try serving(
        cluster, cluster.endpoints[0], "/fixed/empty.bin?x", "home", ["-H", "Cookie: sid=session-0"])
      let away = try serving(
        cluster, cluster.endpoints[1], "/fixed/empty.bin?y", "away",
        ["--interface", "\(moved)", "-H", "Cookie: sid=session-0"])
      #expect(home == away)

      // New rules without a restart.
      try write("- host: api.lab\n  pool: app\n", file)
      try cluster.process("dispatcher").signal(SIGHUP)
      try cluster.waitForLog("dispatcher", "rules changed")
      for endpoint in cluster.endpoints {
        _ = try Eventually.within(5) {
          try serving(cluster, endpoint, "/ready.txt", "changed", ["-H", "Host: api.lab"])
        } until: {
          $0 == "be2"
        }
      }
      // A wrong file changes nothing and is named.
      try write("- host: api.lab\n  pols: app\n", file)
      try cluster.process("dispatcher").signal(SIGHUP)
      try cluster.waitForLog("dispatcher", "There is no field 'pols' in a rule")
      #expect(try serving(cluster, cluster.endpoints[0], "/ready.txt", "kept", ["-H", "Host: api.lab"]) == "be2")

      // Without a dispatcher the pools still hold.
      try cluster.process("dispatcher").terminate(grace: 0)
      for node in ["fe1", "fe2"] { try cluster.waitForLog(node, "dispatcher lost") }
      for (index, page) in TestSite.site.pages.prefix(8).enumerated() {
        let node = try serving(
          cluster, cluster.endpoints[index % 2], page.path, "alone\(index)", ["-H", "Host: api.lab"])
        #expect(node == "be2", "\(page.path)")
      }
      let alone = try Set(
        TestSite.site.pages.prefix(40).map { try serving(cluster, cluster.endpoints[0], $0.path, "free") })
      #expect(alone.count == 3)

      // A new dispatcher brings the rules of its file.
      try write(RulesTests.rules, file)
      try cluster.startFronts(["dispatcher"])
      try cluster.waitUntilServing()
      for endpoint in cluster.endpoints {
        _ = try Eventually.within(5) {
          try serving(cluster, endpoint, "/ready.txt", "again", ["-H", "Host: api.lab"])
        } until: {
          $0 == "be1"
        }
      }
    }

    /// Gets a page and returns the name of the node whose web server logged it.
    private func serving(
      _ cluster: Cluster, _ endpoint: Endpoint, _ path: String, _ marker: String, _ options: [String] = []
    ) throws -> String {
      let separator = path.contains("?") ? "&" : "?"
      let asked = "\(path)\(separator)\(marker)-\(RulesTests.counter())"
      let result = try cluster.client.run(
        ["curl", "-sS", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}"] + options + ["http://\(endpoint)\(asked)"])
      guard result.isSuccess, result.output == "200" else {
        throw LabError("\(asked) at \(endpoint): \(result.status) \(result.output) \(result.errorOutput)")
      }
      let found = try Eventually.within(5) {
        try cluster.nodes.filter { node in
          guard let web = node.web else { return false }
          return try AccessRecord.read(web).contains { $0.path == asked }
        }.map(\.name)
      } until: {
        !$0.isEmpty
      }
      return found.joined(separator: "+")
    }

    private static func counter() -> UInt64 { MonotonicTime.now() }

    private func write(_ text: String, _ path: String) throws {
      let result = try Command.run(["tee", path], input: Array(text.utf8))
      guard result.isSuccess else { throw LabError("cannot write \(path): \(result.errorOutput)") }
    }
  }
}
