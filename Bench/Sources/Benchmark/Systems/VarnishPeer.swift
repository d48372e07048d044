// SPDX-License-Identifier: Apache-2.0

import Lab
import Wire

/// Varnish as a balancer where a distributor would stand: its shard director, without a cache.
///
/// The documentation of vmod_directors recommends the shard director for consistent placement by URL ("best suited for
/// placing objects in a cluster of caches"); `return (pass)` keeps Varnish itself from caching, so that it does what the
/// other fronts do. Connections to the servers are pooled by default. Streaming is on by default. Threads: two pools, as
/// many threads as connections. Waiting for a clock tick before an answer would be wrong, TCP_NODELAY is its default.
struct VarnishPeer: LabProgram {
  func start(at node: ClusterNode, of cluster: Cluster) throws(LabError) {
    guard let service = node.service else { return }
    let servers = cluster.serverEndpoints.enumerated()
    let backends = servers.map { number, endpoint in
      "backend s\(number) { .host = \"\(endpoint.address)\"; .port = \"\(endpoint.port)\"; }\n"
    }
    let members = servers.map { "  cluster.add_backend(s\($0.offset));\n" }
    let text = """
      vcl 4.1;
      import directors;
      \(backends.joined())
      sub vcl_init {
        new cluster = directors.shard();
      \(members.joined())  cluster.reconfigure();
      }
      sub vcl_recv {
        set req.backend_hint = cluster.backend(by=URL);
        return (pass);
      }

      """
    let file = "\(node.folder)/front.vcl"
    try Cluster.write(text, to: file)
    try cluster.start(
      node.name,
      [
        "varnishd", "-F", "-n", "\(node.folder)/varnish", "-a", "\(service.ipv4):\(cluster.plan.frontPort)", "-f", file,
        "-s", "Transient=malloc,256m", "-p", "thread_pool_min=50", "-p", "thread_pool_max=500", "-p",
        "listen_depth=4096",
      ], in: node)
  }
}

extension BenchSystem {
  static let varnish = BenchSystem(
    name: "varnish", kind: .peer,
    explanation:
      "Varnish: shard director by URL, `pass` for everything (no cache in front), pooled connections to the servers.",
    needs: ["varnishd"], front: .haproxy, program: VarnishPeer(), workloads: ["new-8KB", "bulk-1MB", "site"])
}
