// SPDX-License-Identifier: Apache-2.0

import Lab
import Testing
import Wire

extension IntegrationTests {
  /// Clients that people use, against every shape of a cluster and against plain servers.
  @Suite(.serialized, .clusters)
  struct ProgramTests {
    @Test(arguments: Stage.shapes)
    func wrk(_ stage: Stage) throws {
      let cluster = try ClusterPool.cluster(stage)
      for endpoint in cluster.endpoints {
        for header in ["Connection: close", "Connection: keep-alive"] {
          let result = try cluster.client.run([
            "wrk", "-t1", "-c16", "-d1s", "-H", header, "http://\(endpoint)\(TestSite.small.path)",
          ]).checked()
          #expect(!result.output.contains("Socket errors"), "\(endpoint) \(header): \(result.output)")
          #expect(!result.output.contains("Non-2xx"), "\(endpoint) \(header): \(result.output)")
          #expect(number(in: result.output, before: " requests in") ?? 0 > 0, "\(result.output)")
        }
      }
    }

    @Test(arguments: Stage.eachServer)
    func ab(_ stage: Stage) throws {
      let cluster = try ClusterPool.cluster(stage)
      for options in [[], ["-k"]] {
        // Several requests of HTTP/1.0 at a time; -k keeps connections by its own header.
        let result = try cluster.client.run(
          ["ab", "-q", "-n", "300", "-c", "8"] + options + ["http://\(cluster.endpoints[0])\(TestSite.small.path)"]
        ).checked()
        #expect(number(in: result.output, after: "Complete requests:") == 300, "\(result.output)")
        #expect(number(in: result.output, after: "Failed requests:") == 0, "\(result.output)")
        #expect(!result.output.contains("Non-2xx responses"), "\(result.output)")
      }
    }

    @Test(arguments: Stage.eachServer)
    func h2load(_ stage: Stage) throws {
      let cluster = try ClusterPool.cluster(stage)
      let result = try cluster.client.run([
        "h2load", "--h1", "-n", "600", "-c", "8", "http://\(cluster.endpoints[0])\(TestSite.small.path)",
      ]).checked()
      #expect(result.output.contains("600 succeeded, 0 failed, 0 errored, 0 timeout"), "\(result.output)")
    }

    /// A browser loads a page with thirty images, styles and scripts over as many connections as it likes.
    @Test(arguments: Stage.shapes.filter { $0.placement != .together })
    func chromium(_ stage: Stage) throws {
      let cluster = try ClusterPool.cluster(stage)
      let profile = "\(cluster.run.folder)/chromium"
      let result = try cluster.client.run(
        [
          "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
          "--user-data-dir=\(profile)", "--no-first-run", "--disable-background-networking",
          "--virtual-time-budget=20000", "--dump-dom", "http://\(cluster.endpoints[0])/page/index.html",
        ], within: 60)
      #expect(result.output.contains("<title>loaded \(TestSite.assets) bad 0</title>"), "\(result.output.prefix(600))")
    }

    /// The first number of the line that has `marker`, behind it.
    private func number(in text: String, after marker: String) -> Int? {
      guard let line = text.split(separator: "\n").first(where: { $0.contains(marker) }) else { return nil }
      return line.split(separator: " ").compactMap { Int($0) }.first
    }

    /// The number before `marker`.
    private func number(in text: String, before marker: String) -> Int? {
      guard let line = text.split(separator: "\n").first(where: { $0.contains(marker) }) else { return nil }
      return line.split(separator: " ").first.flatMap { Int($0) }
    }
  }
}
