// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Lab
import LinuxKernel
import Testing
import Wire

extension IntegrationTests {
  /// Every transfer completes, whatever the network between clients and cluster loses, doubles or reorders.
  @Suite(.serialized, .cluster(.behindWire))
  struct ImpairedNetworkTests {
    struct Network: Sendable, CustomTestStringConvertible {
      var testDescription: String
      var impairment: Impairment

      static let all: [Network] = {
        var all = [
          Network(testDescription: "2 % lost", impairment: .everywhere(seed: 2, drop: 0.02)),
          Network(testDescription: "5 % lost", impairment: .everywhere(seed: 5, drop: 0.05)),
          Network(testDescription: "10 % doubled", impairment: .everywhere(seed: 10, duplicate: 0.1)),
          Network(testDescription: "10 % reordered", impairment: .everywhere(seed: 11, reorder: 0.1)),
          Network(
            testDescription: "everything",
            impairment: .everywhere(seed: 12, drop: 0.02, duplicate: 0.05, reorder: 0.05)),
        ]
        for phase in Impairment.Phase.allCases where phase != .reset {
          all.append(Network(testDescription: "first \(phase) lost", impairment: .droppingFirst(1, phase)))
          for isDuplicate in [true, false] {
            var rule = Impairment.Rule()
            rule.phases = [phase]
            if isDuplicate { rule.duplicate = 1 } else { rule.reorder = 1 }
            rule.onlyFirst = 2
            all.append(
              Network(
                testDescription: "\(phase) \(isDuplicate ? "doubled" : "late")",
                impairment: Impairment(seed: 1, rules: [rule])))
          }
        }
        return all
      }()
    }

    /// Both routes at once: the plain server shows that the network lets transfers through at all.
    @Test(arguments: Network.all)
    func transfersComplete(_ network: Network) throws {
      let cluster = try SuiteCluster.cluster()
      let wire = try #require(cluster.wire)
      // The wire of the cluster itself lets everything pass; this one takes its place.
      if let own = try? cluster.process("wire"), own.isRunning { own.terminate() }
      let file = "\(cluster.run.folder)/network.json"
      try FileAccess.write(Array(try JSONEncoder().encode(network.impairment)), to: file)
      let process = try wire.start(
        name: "wire",
        [
          try LabTools.path(of: "lab"), "wire", "--inside", "inside", "--outside", "outside", "--impairment", file,
        ], logFile: "\(cluster.run.folder)/wire.log")
      defer { process.terminate() }
      let page = Site.Page(path: "/fixed/one.bin", size: 1 << 20)
      let folder = cluster.run.folder
      let bytes = cluster.site.content(of: page).bytes(from: 0, count: page.size)
      try FileAccess.write(bytes, to: "\(cluster.documentRoot)\(page.path)")
      try FileAccess.write(Array(bytes.prefix(200_000)), to: "\(folder)/upload.bin")
      let digest = try Command.run(["sha256sum"], input: Array(bytes.prefix(200_000))).output.prefix(64)

      var lines: [String] = []
      for route in Route.allCases {
        for endpoint in try route.endpoints(cluster) {
          let name = "\(route) \(endpoint)"
          for wanted in [TestSite.small.path, page.path] {
            lines.append(
              "( curl -sS -m 55 'http://\(endpoint)\(wanted)' | cmp - \(cluster.documentRoot)\(wanted)"
                + " || echo '\(name) GET \(wanted)' ) &")
          }
          lines.append(
            "( curl -sS -m 55 -H Expect: --data-binary @\(folder)/upload.bin http://\(endpoint)/app/digest"
              + " | grep -q '^200000 \(digest)$' || echo '\(name) POST' ) &")
        }
      }
      let result = try cluster.client.run(["sh", "-c", lines.joined(separator: "\n") + "\nwait"])
      #expect(result.output == "", "\(network) \(result.errorOutput)")
      // The wire stays until every FIN got through, repeated or not.
      try Ledger(cluster).waitUntilIdle(within: 20)
    }
  }
}

extension ClusterPlan {
  fileprivate static let behindWire: ClusterPlan = {
    var plan = ClusterPlan(servers: [.nginx])
    plan.impairment = Impairment(seed: 1, rules: [])
    return plan
  }()
}
