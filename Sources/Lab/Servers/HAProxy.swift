// SPDX-License-Identifier: Apache-2.0

public import Wire

/// HAProxy as Debian packages it, placed where a distributor would be: requests go by consistent hash of the URL with
/// bounded load, the nearest that a proxy offers to what the dispatcher does.
public enum HAProxy {
  /// - Parameters:
  ///   - listeners: where clients connect.
  ///   - servers: the web servers.
  public static func configuration(listeners: [Endpoint], servers: [Endpoint]) -> String {
    let binds = listeners.map { "  bind \($0)\n" }.joined()
    let lines = servers.enumerated().map { "  server s\($0.offset) \($0.element) check inter 500ms\n" }.joined()
    return """
      global
        maxconn 8000
        nbthread 2
      defaults
        mode http
        option http-keep-alive
        timeout connect 5s
        timeout client 60s
        timeout server 60s
        timeout tunnel 600s
      frontend clients
      \(binds)  default_backend servers
      backend servers
        balance uri
        hash-type consistent
        hash-balance-factor 150
        option forwardfor
      \(lines)
      """
  }
}
