// SPDX-License-Identifier: Apache-2.0

import BackEnd
import BackEndCore
import Glibc
import Lab
import LinuxKernel
import Logging
import Telemetry
import Testing
import Wire

/// A network, an agent in it, and a played cluster around it.
final class AgentBench: Sendable {
  let network: TestNetwork
  let cluster: PlayedCluster
  let agent: BackEndRole
  let metrics = MetricsRegistry()

  static let serverPort: UInt16 = 8080

  static func configuration(_ serve: ServeMode = .repair) -> BackEndConfiguration {
    var configuration = BackEndConfiguration(
      nodeName: "node", internalAddress: TestNetwork.nodeIPv4, dispatcher: PlayedCluster.dispatcher,
      serverPort: serverPort, workers: 2)
    configuration.serve = serve
    configuration.stateDirectory = "/tmp/hbe-\(getpid())"
    return configuration
  }

  static let logger: Logger = {
    var logger = Logger(label: "agent") { StreamLogHandler.standardError(label: $0) }
    logger.logLevel = .warning
    return logger
  }()

  init(
    _ serve: ServeMode = .repair, network: TestNetwork? = nil,
    services: [Endpoint] = [TestNetwork.service(isIPv4: true), TestNetwork.service(isIPv4: false)],
    _ change: (inout BackEndConfiguration) -> Void = { _ in }
  ) throws {
    let network = try network ?? TestNetwork()
    self.network = network
    cluster = try PlayedCluster(in: network)
    cluster.serve(services)
    var configuration = AgentBench.configuration(serve)
    change(&configuration)
    let metrics = self.metrics
    agent = try network.node.perform { [configuration] in
      try BackEndRole.start(configuration, metrics: metrics, logger: AgentBench.logger)
    }
  }

  deinit {
    agent.stop(draining: 0)
    agent.join()
  }

  /// The value of one sample, summed over what `labels` leave open.
  func metric(_ name: String, _ labels: [String: String] = [:]) -> Int {
    var sum = 0.0
    for family in metrics.collect() where family.name == name {
      for sample in family.samples
      where sample.suffix.isEmpty
        && labels.allSatisfy({ want in sample.labels.contains { $0.name == want.key && $0.value == want.value } })
      {
        sum += sample.value
      }
    }
    return Int(sum)
  }

  func family(_ name: String) -> MetricFamily? { metrics.collect().first { $0.name == name } }

  /// Checks that every handoff and every connection is accounted for, once nothing is open any more.
  func expectBalancedBooks(_ location: SourceLocation = #_sourceLocation) {
    #expect(
      eventually {
        metric("handoff_backend_connections_active") == 0
          && metric("handoff_backend_handoffs_received_total") == metric("handoff_backend_handoffs_total")
          && metric("handoff_backend_handoffs_total", ["outcome": "accepted"])
            + metric("handoff_backend_connections_adopted_total") == metric("handoff_backend_connections_ended_total")
      }, "books: \(metrics.collect())", sourceLocation: location)
    #expect(metric("handoff_backend_held_bytes") == 0, sourceLocation: location)
  }

  func connect(isIPv4: Bool = true, from port: UInt16? = nil) throws -> TestSocket {
    let address = isIPv4 ? TestNetwork.clientIPv4 : TestNetwork.clientIPv6
    return try TestSocket.connect(
      in: network.client, from: port.map { Endpoint(address, $0) }, to: TestNetwork.service(isIPv4: isIPv4))
  }
}

/// An unmodified nginx of the distribution, in the node's namespace.
final class WebServer: Sendable {
  let process: LabProcess
  let directory: String

  init(_ network: TestNetwork) throws {
    let directory = "/tmp/hbe-nginx-\(getpid())-\(MonotonicTime.now() % 1_000_000_000)"
    self.directory = directory
    try Command.run(["mkdir", "-p", "\(directory)/site"]).checked()
    try FileAccess.write(Array("<p>hello</p>\n".utf8), to: "\(directory)/site/hello.html")
    try FileAccess.write(pattern(10_000, seed: 3), to: "\(directory)/site/10k")
    try FileAccess.write(pattern(1_000_000, seed: 4), to: "\(directory)/site/1m")
    try FileAccess.write(pattern(20_000_000, seed: 5), to: "\(directory)/site/20m")
    let configuration = """
      daemon off; master_process off; pid \(directory)/pid; error_log \(directory)/error.log info;
      worker_rlimit_nofile 40000;
      events { worker_connections 20000; }
      http {
        log_format peer '[$remote_addr]:$remote_port "$request" $status $request_completion';
        access_log \(directory)/access.log peer;
        client_body_temp_path \(directory)/body; proxy_temp_path \(directory)/p; fastcgi_temp_path \(directory)/f;
        uwsgi_temp_path \(directory)/u; scgi_temp_path \(directory)/s;
        keepalive_requests 100000; keepalive_timeout 600;
        server {
          listen 127.0.0.1:8080; listen [::1]:8080; root \(directory)/site; client_max_body_size 0;
          location /close/ { alias \(directory)/site/; keepalive_timeout 0; }
          location /put/ { dav_methods PUT; create_full_put_path on; }
        }
      }
      """
    try FileAccess.write(Array(configuration.utf8), to: "\(directory)/nginx.conf")
    process = try network.node.start(
      name: "nginx", ["nginx", "-c", "\(directory)/nginx.conf", "-e", "\(directory)/error.log"],
      logFile: "\(directory)/output")
  }

  var accessLog: String { (try? SystemFile.text(of: "\(directory)/access.log", limit: 64 << 20)) ?? "" }
  func file(_ name: String) -> [UInt8] {
    (try? SystemFile.bytes(of: "\(directory)/site/\(name)", limit: 1 << 30)) ?? []
  }

  deinit {
    process.terminate()
    _ = try? Command.run(["rm", "-rf", directory])
  }
}
