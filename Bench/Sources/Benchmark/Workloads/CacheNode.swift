// SPDX-License-Identifier: Apache-2.0

import Lab

/// A server node with a bounded cache of its own in front of an origin that costs something: Varnish with a few megabytes
/// in front of a store like one disk, which serves one request at a time.
///
/// Files in the page cache that all namespaces share would hide what locality gains.
struct CacheNode: LabProgram {
  /// Bytes of the cache.
  var capacity = 4 << 20
  /// Time of each read of the store before its first byte, in milliseconds, and then megabytes per second.
  var seekMilliseconds = 12.0
  var megabytesPerSecond = 50.0

  static let originPort: UInt16 = 9100

  func start(at node: ClusterNode, of cluster: Cluster) throws(LabError) {
    guard let web = node.web else { return }
    try cluster.start(
      "\(node.name)/origin",
      [
        try LabTools.ownExecutable(), "origin", "--port", "\(Self.originPort)", "--root", cluster.documentRoot,
        "--seek", "\(seekMilliseconds)", "--rate", "\(megabytesPerSecond)",
      ], in: node)
    // Objects are never stale, and a head without a word about caching is cacheable.
    let text = """
      vcl 4.1;
      backend origin { .host = "127.0.0.1"; .port = "\(Self.originPort)"; .max_connections = 200; }
      sub vcl_backend_response { set beresp.ttl = 1d; set beresp.grace = 0s; }

      """
    let file = "\(node.folder)/cache.vcl"
    try Cluster.write(text, to: file)
    try cluster.start(
      "\(node.name)/web",
      [
        "varnishd", "-F", "-n", Self.folder(of: node), "-a", ":\(web.port)", "-f", file, "-s", "malloc,\(capacity)",
        "-s",
        "Transient=malloc,4m", "-p", "thread_pool_min=50", "-p", "thread_pools=1", "-p", "thread_pool_max=1000", "-p",
        "listen_depth=4096",
      ], in: node)
  }

  private static func folder(of node: ClusterNode) -> String { "\(node.folder)/varnish" }

  /// Lookups that hit and that did not, of all nodes since their start.
  static func lookups(_ cluster: Cluster) throws(LabError) -> (hits: Int, misses: Int) {
    var hits = 0
    var misses = 0
    for node in cluster.nodes where node.web != nil {
      let text = try Command.run([
        "varnishstat", "-1", "-n", folder(of: node), "-f", "MAIN.cache_hit", "-f", "MAIN.cache_miss",
      ])
      .checked().output
      for line in text.split(separator: "\n") {
        let fields = line.split(separator: " ")
        guard fields.count > 1, let value = Int(fields[1]) else { continue }
        if fields[0] == "MAIN.cache_hit" { hits += value } else if fields[0] == "MAIN.cache_miss" { misses += value }
      }
    }
    return (hits, misses)
  }
}
