// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Testing
import Wire

@testable import Telemetry

@Suite struct AdminServerTests {
  private static let loopback = IPAddress(ipv4: 0x7f00_0001)

  /// On a thread of its own: the server needs those of the pool.
  private static func get(_ path: String, from endpoint: Endpoint) async throws -> AdminClient.Answer {
    let result = await withCheckedContinuation { continuation in
      _ = WorkerThread(name: "client") {
        continuation.resume(
          returning: Result { () throws(AdminClient.Failure) in
            try AdminClient.get(path, from: endpoint, deadline: MonotonicTime.now() + 30_000_000_000)
          })
      }
    }
    return try result.get()
  }

  @Test(arguments: [loopback, IPAddress(high: 0, low: 1)])
  func servesMetricsAndHealth(address: IPAddress) async throws {
    let registry = MetricsRegistry()
    registry.registerProcess(version: "1", node: "n", roles: ["dispatcher"])
    let report = Published(HealthReport([]))
    let server = try await AdminServer(at: Endpoint(address, 0), metrics: registry) { report.read() }
    #expect(try await Self.get("/healthz", from: server.endpoint) == .init(status: 503, body: "starting\n"))

    report.publish(
      HealthReport([
        .init(role: "dispatcher", health: .ready), .init(role: "distributor", health: .waiting("no dispatcher")),
      ]))
    #expect(
      try await Self.get("/healthz", from: server.endpoint)
        == .init(status: 503, body: "dispatcher: ready\ndistributor: waiting: no dispatcher\n"))

    report.publish(HealthReport([.init(role: "dispatcher", health: .draining)]))
    #expect(try await Self.get("/healthz", from: server.endpoint) == .init(status: 503, body: "dispatcher: draining\n"))

    report.publish(HealthReport([.init(role: "dispatcher", health: .ready)]))
    #expect(try await Self.get("/healthz", from: server.endpoint) == .init(status: 200, body: "dispatcher: ready\n"))

    let metrics = try await Self.get("/metrics", from: server.endpoint)
    #expect(metrics.status == 200)
    #expect(metrics.body.contains("handoff_build_info{version=\"1\",node=\"n\",roles=\"dispatcher\"} 1\n"))
    #expect(try await Self.get("/other", from: server.endpoint).status == 404)
    await server.stop()
    await #expect(throws: AdminClient.Failure.self) { try await Self.get("/healthz", from: server.endpoint) }
  }

  @Test func portInUseSaysSo() async throws {
    let taken = try StreamSocket.listen(at: Endpoint(Self.loopback, 0))
    let endpoint = try taken.localEndpoint()
    let failure = await #expect(throws: StartupFailure.self) {
      _ = try await AdminServer(at: endpoint, metrics: MetricsRegistry()) { HealthReport([]) }
    }
    #expect(
      failure?.problem
        == "The admin server cannot listen at \(endpoint): bind on \(endpoint): Address already in use")
    #expect(failure?.remedy.contains("--admin") == true)
  }

  @Test func foreignAddressSaysSo() async throws {
    // 192.0.2.0/24 is reserved for documentation (RFC 5737).
    let failure = await #expect(throws: StartupFailure.self) {
      _ = try await AdminServer(at: Endpoint(IPAddress(ipv4: 0xc000_0201), 7010), metrics: MetricsRegistry()) {
        HealthReport([])
      }
    }
    #expect(failure?.remedy.contains("No interface of this host") == true)
  }

  @Test func roleStateShowsOneOfFour() {
    let family = HealthReport([.init(role: "back-end", health: .draining)]).family()
    #expect(family.samples.map(\.value) == [0, 0, 1, 0])
  }
}
