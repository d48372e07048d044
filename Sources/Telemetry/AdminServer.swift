// SPDX-License-Identifier: Apache-2.0

import FlyingFox
import FlyingSocks
import Foundation
import LinuxKernel
public import Wire

/// The HTTP server for operators: `/metrics`, `/healthz`, and the pages of the roles.
///
/// It runs as tasks on Swift's own thread pool; event loops never wait for it, they only publish copies that it reads.
public final class AdminServer: Sendable {
  private let server: HTTPServer
  private let running: Task<Void, any Error>
  /// Where it listens; the port is the one that the kernel chose when 0 was asked for.
  public let endpoint: Endpoint

  /// Listens and serves until `stop()`.
  ///
  /// - Parameters:
  ///   - pages: answered by their paths; may grow while the server runs.
  ///   - health: asked at each `/healthz`.
  public init(
    at endpoint: Endpoint, metrics: MetricsRegistry, pages: AdminPages = AdminPages(),
    health: @escaping @Sendable () -> HealthReport
  ) async throws(StartupFailure) {
    try AdminServer.probe(endpoint)
    server = AdminServer.server(at: endpoint)
    await AdminServer.addRoutes(to: server, metrics: metrics, pages: pages, health: health)
    let server = self.server
    running = Task { try await server.run() }
    do {
      try await server.waitUntilListening(timeout: 5)
      self.endpoint = Endpoint(endpoint.address, await server.port ?? endpoint.port)
    } catch {
      running.cancel()
      throw StartupFailure(
        "The admin server cannot listen at \(endpoint): \(error.localizedDescription)",
        remedy: "Give another address with --admin, or 'none'")
    }
  }

  /// Closes the listener and the connections.
  public func stop() async {
    await server.stop(timeout: 0)
    _ = await running.result
  }

  /// Binds and closes again: the system call's own error tells more than the server's.
  private static func probe(_ endpoint: Endpoint) throws(StartupFailure) {
    do {
      _ = try StreamSocket.listen(at: endpoint)
    } catch {
      throw error.admin(endpoint)
    }
  }

  private static func server(at endpoint: Endpoint) -> HTTPServer {
    var address: any SocketAddress = sockaddr_in.inet(port: endpoint.port)
    // Both parse: the text is the canonical form of an address.
    if endpoint.address.isIPv4 {
      if let parsed = try? sockaddr_in.inet(ip4: "\(endpoint.address)", port: endpoint.port) { address = parsed }
    } else if let parsed = try? sockaddr_in6.inet6(ip6: "\(endpoint.address)", port: endpoint.port) {
      address = parsed
    }
    return HTTPServer(address: address, timeout: 10, logger: .disabled)
  }

  private static func addRoutes(
    to server: HTTPServer, metrics: MetricsRegistry, pages: AdminPages, health: @escaping @Sendable () -> HealthReport
  ) async {
    await server.appendRoute("GET,HEAD /metrics") { _ in
      let text = PrometheusText.render(metrics.collect())
      return HTTPResponse(
        statusCode: .ok, headers: [.contentType: PrometheusText.contentType], body: Data(text.utf8))
    }
    await server.appendRoute("GET,HEAD /healthz") { _ in
      let report = health()
      return HTTPResponse(
        statusCode: report.isReady ? .ok : .serviceUnavailable,
        headers: [.contentType: "text/plain; charset=utf-8"], body: Data(report.text.utf8))
    }
    await server.appendRoute("GET,HEAD /*") { request in
      guard let handler = pages.handler(of: request.path) else { return HTTPResponse(statusCode: .notFound) }
      let query = Dictionary(request.query.map { ($0.name, $0.value) }) { $1 }
      let page = await handler(query)
      return HTTPResponse(
        statusCode: HTTPStatusCode(page.status, phrase: ""), headers: [.contentType: page.contentType],
        body: Data(page.body))
    }
  }
}

extension HTTPServer {
  fileprivate var port: UInt16? {
    switch listeningAddress {
    case .ip4(_, let port), .ip6(_, let port): port
    case .unix, nil: nil
    }
  }
}

extension SystemError {
  fileprivate func admin(_ endpoint: Endpoint) -> StartupFailure {
    let remedy =
      switch self.errno {
      case EADDRINUSE: "Another process has this port: stop it, or give another port with --admin"
      case EADDRNOTAVAIL: "No interface of this host has the address: give one of its own with --admin"
      case EACCES: "Ports below 1024 need CAP_NET_BIND_SERVICE: give a higher port with --admin"
      default: "Give another address with --admin, or 'none'"
      }
    return StartupFailure("The admin server cannot listen at \(endpoint): \(self)", remedy: remedy)
  }
}
