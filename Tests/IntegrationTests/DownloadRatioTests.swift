// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Testing
import Wire

extension IntegrationTests {
  @Suite(.serialized, .cluster(ClusterPlan(servers: [.nginx])))
  struct DownloadRatioTests {
    /// 100 MB through the handoff and from the same server directly, one after the other: the median of the ratios. Up to
    /// four blocks of five rounds, since other work on the machine hits one side of a round or the other.
    ///
    /// Nothing limits the link: both rates are those at which this one machine copies bytes. A relay on the server's node
    /// has to copy them once more; that is a figure of cost, and measured elsewhere.
    @Test(.enabled(if: ServeChoice.serve != "repair"))
    func largeDownloadIsNearlyAsFastAsWithoutBalancer() throws {
      let cluster = try SuiteCluster.cluster()
      let file = "\(cluster.documentRoot)/large.bin"
      try Command.run(["dd", "if=/dev/urandom", "of=\(file)", "bs=1M", "count=\(Large.megabytes)"]).checked()
      for route in Route.allCases {
        let check = "curl -sS -m 60 http://\(try route.endpoints(cluster)[0])/large.bin | cmp - \(file)"
        try cluster.client.run(["sh", "-c", check]).checked()
      }
      var medians: [Double] = []
      for _ in 0..<4 {
        let ratios = try (0..<5).map { round in
          let order = round % 2 == 0 ? Route.allCases : Route.allCases.reversed()
          let rates = try order.map { ($0, try rate(cluster, $0)) }
          let of = Dictionary(uniqueKeysWithValues: rates)
          return (of[.handoff] ?? 0) / (of[.direct] ?? 1)
        }
        medians.append(ratios.sorted()[2])
        print("MEASURED a download of \(Large.megabytes) MB, handoff / direct: \(ratios.sorted())")
        if ratios.sorted()[2] >= 0.8 { return }
      }
      Issue.record("medians of handoff / direct: \(medians)")
    }

    /// Bytes per second.
    private func rate(_ cluster: Cluster, _ route: Route) throws -> Double {
      let result = try cluster.client.run([
        "curl", "-sS", "-m", "60", "-o", "/dev/null", "-w", "%{speed_download}",
        "http://\(try route.endpoints(cluster)[0])/large.bin",
      ]).checked()
      return Double(result.output) ?? 0
    }
  }
}
