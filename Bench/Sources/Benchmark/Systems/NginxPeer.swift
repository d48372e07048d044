// SPDX-License-Identifier: Apache-2.0

import Lab

/// nginx as a proxy where a distributor would stand.
///
/// What its documentation (ngx_http_upstream_module, ngx_http_proxy_module, "Tuning NGINX") recommends, and why:
/// - `hash $request_uri consistent` (ketama) keeps an object on one server when servers come and go.
/// - `keepalive` in the upstream block with `proxy_http_version 1.1` and an empty `Connection` header shares connections
///   to the servers among clients; `keepalive_requests` and `keepalive_timeout` are raised for a busy proxy and for clients that stay.
/// - `worker_processes auto`: one for each processor; `reuseport` gives each its own listening socket.
/// - `proxy_buffers` hold 1 MB before an answer would go to a file; `proxy_max_temp_file_size 0` forbids that at all.
/// - `access_log off`, as for all systems' fronts.
struct NginxPeer: LabProgram {
  func start(at node: ClusterNode, of cluster: Cluster) throws(LabError) {
    guard let service = node.service else { return }
    let servers = cluster.serverEndpoints.map { "    server \($0) max_fails=1 fail_timeout=1s;\n" }
    let file = "\(node.folder)/front.conf"
    let text = """
      daemon off;
      user root;
      worker_processes auto;
      worker_rlimit_nofile 20000;
      pid \(node.folder)/front.pid;
      error_log \(node.folder)/front.log warn;
      events { worker_connections 8192; }
      http {
        access_log off;
        client_body_temp_path \(node.folder)/body;
        proxy_temp_path \(node.folder)/proxy;
        fastcgi_temp_path \(node.folder)/fastcgi;
        uwsgi_temp_path \(node.folder)/uwsgi;
        scgi_temp_path \(node.folder)/scgi;
        keepalive_requests 1000000;
        keepalive_timeout 600s;
        tcp_nodelay on;
        upstream servers {
          hash $request_uri consistent;
      \(servers.joined())    keepalive 256;
          keepalive_requests 1000000;
        }
        server {
          listen \(service.ipv4):\(cluster.plan.frontPort) backlog=4096 reuseport;
          location / {
            proxy_pass http://servers;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_buffers 16 64k;
            proxy_buffer_size 16k;
            proxy_busy_buffers_size 128k;
            proxy_max_temp_file_size 0;
          }
        }
      }

      """
    try Cluster.write(text, to: file)
    try cluster.start(node.name, ["nginx", "-e", "\(node.folder)/front.log", "-c", file], in: node)
  }
}

extension BenchSystem {
  static let nginx = BenchSystem(
    name: "nginx", kind: .peer,
    explanation: """
      nginx: `hash $request_uri consistent`, kept-alive connections to the servers, one worker for each processor with \
      `reuseport`, answers never in temporary files.
      """, needs: ["nginx"], front: .haproxy, program: NginxPeer())
}
