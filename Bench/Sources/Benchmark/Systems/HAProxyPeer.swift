// SPDX-License-Identifier: Apache-2.0

import Lab
import Wire

/// HAProxy where a distributor would stand.
///
/// What its documentation (configuration manual 2.6, chapters 3.2, 4 and 5.2) recommends for this use, and why:
/// - `balance uri` with `hash-type consistent` keeps an object on one server when servers come and go, and
///   `hash-balance-factor 150` bounds the load of each at 1.5 times the mean ("a value between 125 and 200 is sensible").
/// - `http-reuse always`: connections to the servers are shared among clients. "Recommended when the servers are known to
///   keep idle connections": it saves a connection to the server for each new client.
/// - `maxconn` counts descriptors twice, for client and server; idle clients need one each, since connections to the
///   servers are shared. `no strict-limits` lets it start where a process may have 20,000.
/// - `timeout http-keep-alive` is long enough for clients that stay.
/// - `nbthread` is left alone: one thread for each processor.
/// - `option forwardfor` tells the server the client's address, which a handoff does by itself.
/// - `timeout` values are those of the manual's example; no logging, as for all systems.
struct HAProxyPeer: LabProgram {
  /// Splices answers in the kernel, with large buffers and pipes, for bulk.
  ///
  /// `option splice-response` forwards without copying to user space and pays off for large answers only;
  /// `tune.pipesize` and `tune.bufsize` say how much goes in one turn (chapter 3.2: "increase for high speed bulk").
  var splices = false

  func start(at node: ClusterNode, of cluster: Cluster) throws(LabError) {
    guard let service = node.service else { return }
    let file = "\(node.folder)/haproxy.cfg"
    try Cluster.write(configuration(Endpoint(service.ipv4, cluster.plan.frontPort), cluster), to: file)
    try cluster.start(node.name, ["haproxy", "-db", "-f", file], in: node)
  }

  private func configuration(_ listener: Endpoint, _ cluster: Cluster) -> String {
    let servers = cluster.serverEndpoints.enumerated().map {
      "  server s\($0.offset) \($0.element) check inter 500ms\n"
    }
    let tuning = splices ? "  tune.pipesize 1048576\n  tune.bufsize 65536\n  maxpipes 1000\n" : ""
    let splice = splices ? "  option splice-response\n" : ""
    return """
      global
        maxconn \(splices ? 4000 : 18000)
        no strict-limits
      \(tuning)defaults
        mode http
        option http-keep-alive
        http-reuse always
      \(splice)  timeout connect 5s
        timeout client 60s
        timeout http-keep-alive 600s
        timeout server 60s
      frontend clients
        bind \(listener)
        default_backend servers
      backend servers
        balance uri
        hash-type consistent
        hash-balance-factor 150
        option forwardfor
      \(servers.joined())
      """
  }
}

extension Cluster {
  /// The web servers' addresses.
  var serverEndpoints: [Endpoint] {
    nodes.filter { $0.web != nil }.map { Endpoint($0.address.ipv4, plan.serverPort) }
  }
}

extension BenchSystem {
  static let haproxy = BenchSystem(
    name: "haproxy", kind: .peer,
    explanation: """
      HAProxy: `balance uri`, `hash-type consistent`, `hash-balance-factor 150`, `http-reuse always`, default buffers of \
      16 KB, no splicing, one thread for each processor.
      """, needs: ["haproxy"], front: .haproxy, program: HAProxyPeer())

  static let haproxySplice = BenchSystem(
    name: "haproxy-splice", kind: .peer,
    explanation: """
      HAProxy as before with `option splice-response`, pipes of 1 MB and buffers of 64 KB: for bulk.
      """, needs: ["haproxy"], front: .haproxy, program: HAProxyPeer(splices: true),
    workloads: ["bulk-1MB", "bulk-16MB"])
}
