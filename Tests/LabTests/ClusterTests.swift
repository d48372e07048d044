// SPDX-License-Identifier: Apache-2.0

import Lab
import Testing

@Suite(.serialized)
struct ClusterTests {
  static let site = Site.generate(seed: 3, pages: 20, maximumSize: 100_000, maximumTotal: 1 << 20)

  /// Every server answers with the right bytes, by IPv4 and IPv6.
  @Test(arguments: WebServer.allCases)
  func directClientsReachEveryServer(_ kind: WebServer) throws {
    let cluster = try Cluster.start(ClusterPlan(front: .direct, servers: [kind]), site: Self.site)
    defer { cluster.stop() }
    for endpoint in cluster.endpoints + cluster.endpoints6 {
      let page = Self.site.pages[7]
      let curl = try cluster.client.run([
        "curl", "-sS", "-w", "%{stderr}%{local_port}", "http://\(endpoint)\(page.path)",
      ])
      #expect(curl.isSuccess, "\(curl.errorOutput)")
      #expect(curl.standardOutput == Self.site.content(of: page).bytes(from: 0, count: page.size))
    }
  }

  @Test func aProxyCanStandInTheMiddle() throws {
    let plan = ClusterPlan(front: .haproxy, distributors: 2, servers: [.nginx, .caddy])
    let cluster = try Cluster.start(plan, site: Self.site)
    defer { cluster.stop() }
    let page = Self.site.pages[3]
    for endpoint in cluster.endpoints + cluster.endpoints6 {
      let curl = try cluster.client.run(["curl", "-sS", "http://\(endpoint)\(page.path)"])
      #expect(curl.standardOutput == Self.site.content(of: page).bytes(from: 0, count: page.size))
    }
  }

  @Test func nothingIsLeft() throws {
    let cluster = try Cluster.start(ClusterPlan(front: .direct, servers: [.nginx]), site: Self.site)
    let prefix = "ho-\(cluster.run.id)-"
    #expect(try Command.run(["ip", "netns", "list"]).output.contains(prefix))
    #expect(cluster.stop() == [])
    #expect(try !Command.run(["ip", "netns", "list"]).output.contains(prefix))
    #expect(try Command.run(["ls", cluster.run.folder]).errorOutput.contains("No such file"))
  }
}
