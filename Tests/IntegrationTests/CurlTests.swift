// SPDX-License-Identifier: Apache-2.0

import Lab
import Testing
import Wire

extension IntegrationTests {
  @Suite(.serialized, .clusters)
  struct CurlTests {
    @Test(arguments: Stage.eachServer)
    func versionsAndFamilies(_ stage: Stage) throws {
      let cluster = try ClusterPool.cluster(stage)
      for endpoint in cluster.endpoints + cluster.endpoints6 {
        for version in ["--http1.0", "--http1.1"] {
          for page in [TestSite.small, TestSite.empty, TestSite.medium] {
            let result = try curl(cluster, [version, url(endpoint, page)])
            #expect(result.standardOutput == TestSite.bytes(of: page), "\(version) \(endpoint) \(page.path)")
          }
        }
      }
    }

    @Test(arguments: Stage.eachServer)
    func twoRequestsOnOneConnection(_ stage: Stage) throws {
      let cluster = try ClusterPool.cluster(stage)
      let first = url(cluster.endpoints[0], TestSite.small)
      let second = url(cluster.endpoints[0], TestSite.medium)
      let result = try curl(cluster, ["-w", "%{stderr}%{http_code} %{num_connects}\\n", first, second])
      #expect(result.errorOutput == "200 1\n200 0\n")
      #expect(result.standardOutput == TestSite.bytes(of: TestSite.small) + TestSite.bytes(of: TestSite.medium))
    }

    @Test(arguments: Stage.eachServer)
    func rangeAndHead(_ stage: Stage) throws {
      let cluster = try ClusterPool.cluster(stage)
      let target = url(cluster.endpoints[0], TestSite.medium)
      let range = try curl(cluster, ["-r", "1000000-1000999", "-w", "%{stderr}%{http_code}", target])
      #expect(range.errorOutput == "206")
      #expect(range.standardOutput == Array(TestSite.bytes(of: TestSite.medium)[1_000_000...1_000_999]))
      let head = try curl(cluster, ["--head", "-w", "%{stderr}%{http_code} %{num_connects}\\n", target, target])
      #expect(head.errorOutput == "200 1\n200 0\n")
      #expect(head.output.lowercased().contains("content-length: \(TestSite.medium.size)"))
    }

    @Test(arguments: Stage.eachServer)
    func uploads(_ stage: Stage) throws {
      let cluster = try ClusterPool.cluster(stage)
      let target = "http://\(cluster.endpoints[0])/app/digest"
      let data = TestSite.bytes(of: TestSite.medium)
      let digest = try Command.run(["sha256sum"], input: data).output.prefix(64)
      let cases: [(name: String, options: [String], count: Int)] = [
        ("no expectation", ["-H", "Expect:", "--data-binary", "@-"], data.count),
        ("expectation", ["-H", "Expect: 100-continue", "--data-binary", "@-"], data.count),
        ("chunked", ["-H", "Expect:", "-H", "Transfer-Encoding: chunked", "-X", "POST", "-T", "-"], data.count),
        ("chunked with expectation", ["-H", "Expect: 100-continue", "-X", "POST", "-T", "-"], data.count),
        ("put", ["-H", "Expect:", "-X", "PUT", "--data-binary", "@-"], data.count),
      ]
      for (name, options, count) in cases {
        let result = try cluster.client.run(["curl", "-sS", "-m", "20"] + options + [target], input: data)
        #expect(result.isSuccess, "\(name): \(result.errorOutput)")
        #expect(result.output == "\(count) \(digest)\n", "\(name)")
      }
    }

    /// The server's own access log. Not with lighttpd, which keeps its log in memory until it ends: see the next test.
    @Test(arguments: Stage.eachServer.filter { $0.servers != [.lighttpd] })
    func serverSeesTheClientsAddressAndPort(_ stage: Stage) throws {
      let cluster = try ClusterPool.cluster(stage)
      let node = try #require(cluster.nodes.first { $0.web != nil })
      let web = try #require(node.web)
      for (index, endpoint) in (cluster.endpoints + cluster.endpoints6).enumerated() {
        let pair = cluster.clientAddresses[1 + index % 2]
        let source = endpoint.address.isIPv4 ? pair.ipv4 : pair.ipv6
        let marker = "\(TestSite.small.path)?from=\(index)-\(cluster.run.id)"
        let result = try curl(
          cluster,
          ["--interface", "\(source)", "-w", "%{stderr}%{local_port}", "http://\(endpoint)\(marker)"])
        let port = try #require(UInt16(result.errorOutput))
        let records = try Eventually.within(10) {
          try AccessRecord.read(web).filter { $0.path == marker }
        } until: {
          !$0.isEmpty
        }
        if stage.front != .haproxy { #expect(records.map(\.client) == [Endpoint(source, port)]) }
      }
    }

    /// The server's sockets: the connection that it has accepted is with the client's own address and port.
    @Test(arguments: Stage.eachServer.filter { $0.front != .haproxy })
    func serversSocketIsWithTheClient(_ stage: Stage) throws {
      let cluster = try ClusterPool.cluster(stage)
      let node = try #require(cluster.nodes.first { $0.web != nil })
      for endpoint in cluster.endpoints + cluster.endpoints6 {
        let client = try RawClient(cluster, to: endpoint)
        try client.send("GET \(TestSite.small.path) HTTP/1.1\r\nHost: lab\r\n\r\n")
        _ = try client.read { $0.count >= TestSite.small.size }
        let sockets = try node.namespace.run([
          "ss", "-Htn", "state", "established",
          // Served directly the connection has the dialled port.
          "( sport = :\(cluster.plan.serverPort) or sport = :\(cluster.plan.frontPort) )",
        ]).checked().output
        let peers: [String] = sockets.split(separator: "\n").compactMap { line in
          line.split(separator: " ").last.map { String($0).replacing("::ffff:", with: "") }
        }
        let expected =
          client.local.address.isIPv4
          ? ["\(client.local)", "[\(client.local.address)]:\(client.local.port)"] : ["\(client.local)"]
        #expect(!Set(expected).isDisjoint(with: peers), "\(client.local) is not among \(peers)")
      }
    }

    private func url(_ endpoint: Endpoint, _ page: Site.Page) -> String { "http://\(endpoint)\(page.path)" }

    private func curl(_ cluster: Cluster, _ arguments: [String]) throws -> CommandResult {
      let result = try cluster.client.run(["curl", "-sS", "-m", "20"] + arguments)
      #expect(result.isSuccess, "\(arguments): \(result.errorOutput)")
      return result
    }
  }
}
