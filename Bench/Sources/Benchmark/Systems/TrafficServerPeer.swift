// SPDX-License-Identifier: Apache-2.0

import Lab
import Wire

/// Apache Traffic Server where a distributor would stand, as a balancer without a cache of its own.
///
/// What its documentation (9.2: strategies.yaml, records.config, "Performance Tuning") recommends for this use, and why:
/// - A next-hop strategy with `policy: consistent_hash` and `hash_key: path+query` keeps an object on one server;
///   `parent_is_proxy: false` says that the hosts are origin servers over which the strategy balances; `exhaust_ring` tries
///   another host of the group when one fails, and passive health checks mark it down. It has no bounded load.
/// - `uncacheable_requests_bypass_parent 0`: without it only what may be cached goes by the strategy.
///   `no_dns_just_forward_to_parent 1`: no look-up of the mapped name for each request. Hosts need names, which a host file
///   of HostDB resolves.
/// - `accept_threads 0` with `exec_thread.listen 1`: every thread has a listening socket of its own (SO_REUSEPORT) instead of
///   one thread that accepts for all. Threads: one for each processor, as the packaged configuration has it.
/// - Connections to the servers are shared by default, in a pool for each thread.
/// - `cache.http 0`, no storage: it does what the other fronts do. No Via, no logging, as for all systems;
///   X-Forwarded-For is on by default.
/// - `connections_throttle` below the descriptors that a process may have; clients may stay idle for ten minutes.
struct TrafficServerPeer: LabProgram {
  /// The package's own user; the program does not run as root.
  private static let user = "trafficserver"

  func start(at node: ClusterNode, of cluster: Cluster) throws(LabError) {
    guard let service = node.service else { return }
    let folder = "\(node.folder)/traffic-server"
    let names = ["etc", "run", "log", "cache"]
    try Command.run(["mkdir", "-p"] + names.map { "\(folder)/\($0)" }).checked()
    let servers = cluster.serverEndpoints
    let files = [
      "runroot.yaml": """
      prefix: /usr
      bindir: /usr/bin
      libexecdir: /usr/lib/trafficserver/modules
      sysconfdir: \(folder)/etc
      localstatedir: \(folder)/run
      runtimedir: \(folder)/run
      logdir: \(folder)/log
      cachedir: \(folder)/cache
      """,
      "etc/records.config": records(Endpoint(service.ipv4, cluster.plan.frontPort), folder),
      "etc/remap.config": "map / http://\(host(0)):\(cluster.plan.serverPort)/ @strategy=servers",
      "etc/strategies.yaml": strategies(servers),
      "etc/hosts": servers.enumerated().map { "\($0.element.address) \(host($0.offset))\n" }.joined(),
      "etc/ip_allow.yaml": """
      ip_allow:
        - apply: in
          ip_addrs: 0/0
          action: allow
          methods: ALL
      """,
      "etc/storage.config": "", "etc/plugin.config": "",
    ]
    for (name, text) in files { try Cluster.write("\(text)\n", to: "\(folder)/\(name)") }
    try Command.run(["chown", "-R", "\(Self.user):", folder]).checked()
    try cluster.start(node.name, ["traffic_server", "--run-root=\(folder)/runroot.yaml"], in: node)
  }

  private func host(_ number: Int) -> String { "s\(number).lab" }

  private func records(_ listener: Endpoint, _ folder: String) -> String {
    """
    CONFIG proxy.config.http.server_ports STRING \(listener.port):ip-in=\(listener.address)
    CONFIG proxy.config.admin.user_id STRING \(Self.user)
    CONFIG proxy.config.exec_thread.autoconfig.scale FLOAT 1.0
    CONFIG proxy.config.accept_threads INT 0
    CONFIG proxy.config.exec_thread.listen INT 1
    CONFIG proxy.config.net.connections_throttle INT 18000
    CONFIG proxy.config.net.listen_backlog INT 4096
    CONFIG proxy.config.http.cache.http INT 0
    CONFIG proxy.config.http.uncacheable_requests_bypass_parent INT 0
    CONFIG proxy.config.http.no_dns_just_forward_to_parent INT 1
    CONFIG proxy.config.http.parent_proxy.retry_time INT 1
    CONFIG proxy.config.http.keep_alive_no_activity_timeout_in INT 600
    CONFIG proxy.config.http.insert_request_via_str INT 0
    CONFIG proxy.config.http.insert_response_via_str INT 0
    CONFIG proxy.config.hostdb.host_file.path STRING \(folder)/etc/hosts
    CONFIG proxy.config.url_remap.pristine_host_hdr INT 1
    CONFIG proxy.config.log.logging_enabled INT 0
    CONFIG proxy.config.diags.output.note STRING L
    CONFIG proxy.config.diags.output.warning STRING L
    """
  }

  private func strategies(_ servers: [Endpoint]) -> String {
    let hosts = servers.enumerated().map { number, endpoint in
      """
        - &s\(number)
          host: \(host(number))
          protocol:
            - scheme: http
              port: \(endpoint.port)

      """
    }
    let members = servers.indices.map { "    - <<: *s\($0)\n      weight: 1.0\n" }
    return """
      hosts:
      \(hosts.joined())groups:
        - &servers
      \(members.joined())strategies:
        - strategy: servers
          policy: consistent_hash
          hash_key: path+query
          go_direct: false
          parent_is_proxy: false
          scheme: http
          groups:
            - *servers
          failover:
            ring_mode: exhaust_ring
            health_check:
              - passive
      """
  }
}

extension BenchSystem {
  static let trafficServer = BenchSystem(
    name: "traffic-server", kind: .peer,
    explanation: """
      Apache Traffic Server: next-hop strategy `consistent_hash` by path and query, no cache in front, pooled connections to \
      the servers, one thread for each processor, each with a listening socket.
      """, needs: ["traffic_server"], front: .haproxy, program: TrafficServerPeer(),
    workloads: ["new-128B", "new-8KB", "kept-alive-1KB", "site", Workload.cacheGroup, Workload.idleGroup])
}
