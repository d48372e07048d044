// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Synchronization
import Testing
import Wire

@testable import Load

/// The generator against a server that answers as it is told, over loopback.
@Suite(.serialized)
struct LoadGeneratorTests {
  static let pages = [LoadPlan.Path(path: "/a", size: 100), LoadPlan.Path(path: "/b", size: 100_000)]

  static func plan(_ server: TestServer) -> LoadPlan {
    var plan = LoadPlan(endpoints: [server.endpoint], paths: pages)
    plan.connections = 4
    plan.requests = 200
    plan.seconds = 20
    plan.timeout = 5
    return plan
  }

  struct Shape: Sendable, CustomTestStringConvertible {
    var name: String
    var change: @Sendable (inout LoadPlan) -> Void
    var testDescription: String { name }
  }

  @Test(arguments: [
    Shape(name: "new connections") { _ in },
    Shape(name: "kept alive") { $0.isKeptAlive = true },
    Shape(name: "pipelined") { plan in
      plan.isKeptAlive = true
      plan.pipeline = 5
    },
    Shape(name: "verified") { plan in
      plan.isKeptAlive = true
      plan.verifiedSeed = 7
    },
    Shape(name: "pipelined and verified, two threads") { plan in
      plan.isKeptAlive = true
      plan.pipeline = 3
      plan.verifiedSeed = 7
      plan.threads = 2
    },
    Shape(name: "open loop") { $0.pace = .open(rate: 2000) },
    Shape(name: "open loop, kept alive") { plan in
      plan.isKeptAlive = true
      plan.pace = .open(rate: 2000)
    },
  ])
  func everyRequestIsAnswered(_ shape: Shape) throws {
    let server = try TestServer(.right)
    defer { server.stop() }
    var plan = Self.plan(server)
    shape.change(&plan)
    let report = try LoadGenerator.run(plan)
    #expect(report.requests == 200)
    #expect(report.failures == [:])
    #expect(report.latency.count == 200)
    #expect(report.connections == (plan.isKeptAlive ? report.connections : 200))
    #expect(report.bytes == 100 * 100 + 100 * 100_000 || plan.threads > 1 || plan.pace != .closed)
    if plan.verifiedSeed != nil { #expect(report.verifiedBytes == report.bytes) }
  }

  @Test(arguments: [
    (TestServer.Behaviour.wrongByte, LoadReport.Failure.content), (.wrongLength, .content), (.status, .status),
    (.cut, .closedEarly), (.noise, .malformed), (.silent, .timeout),
  ])
  func eachFailureHasItsKind(_ behaviour: TestServer.Behaviour, _ kind: LoadReport.Failure) throws {
    let server = try TestServer(behaviour)
    defer { server.stop() }
    var plan = Self.plan(server)
    plan.requests = 8
    plan.timeout = 0.3
    plan.verifiedSeed = 7
    let report = try LoadGenerator.run(plan)
    #expect(report.requests == 0)
    #expect(report.failures == [kind.rawValue: 8])
  }

  @Test func aClosedPortIsAConnectFailure() throws {
    let server = try TestServer(.right)
    let endpoint = server.endpoint
    server.stop()
    var plan = LoadPlan(endpoints: [endpoint], paths: Self.pages)
    plan.connections = 2
    plan.requests = 6
    let report = try LoadGenerator.run(plan)
    #expect(report.failures == ["connect": 6])
  }

  @Test func heldConnectionsAreCounted() throws {
    let server = try TestServer(.right)
    defer { server.stop() }
    var plan = Self.plan(server)
    plan.pace = .hold
    plan.isKeptAlive = true
    plan.connections = 50
    plan.requests = nil
    plan.seconds = 0.2
    let opened = Atomic<Int>(0)
    let counter = Counter()
    let report = try LoadGenerator.run(plan) { counter.add() }
    opened.store(counter.value, ordering: .relaxed)
    #expect(counter.value == 1)
    #expect(report.open == 50)
    #expect(report.requests == 50)
  }

  @Test func holdingEndsWhenTold() throws {
    let server = try TestServer(.right)
    defer { server.stop() }
    var plan = Self.plan(server)
    plan.pace = .hold
    plan.isKeptAlive = true
    plan.connections = 50
    plan.requests = nil
    plan.seconds = 60
    let stop = LoadStop()
    let start = MonotonicTime.now()
    let report = try LoadGenerator.run(plan, stop: stop) { stop.stop() }
    #expect(MonotonicTime.now() - start < 30_000_000_000)
    #expect(report.open == 50)
    #expect(report.failures.isEmpty)
  }

  @Test func connectionsForWhichThereIsNoTimeAreCounted() throws {
    let server = try TestServer(.right)
    defer { server.stop() }
    var plan = Self.plan(server)
    plan.pace = .hold
    plan.isKeptAlive = true
    plan.connections = 50
    plan.requests = nil
    plan.seconds = 0.1
    plan.openWithin = 0
    let report = try LoadGenerator.run(plan)
    #expect(report.open == 0)
    #expect(report.failures == ["unsent": 50])
    // The time of holding is not in it.
    #expect(report.seconds < 0.1)
  }

  /// A server that stands still for a while makes the requests late that would have come meanwhile: closed loops do not
  /// see that (coordinated omission).
  @Test func anOpenLoopSeesAStandstill() throws {
    let server = try TestServer(.pause(milliseconds: 300))
    defer { server.stop() }
    var plan = Self.plan(server)
    plan.paths = [Self.pages[0]]
    plan.pace = .open(rate: 1000)
    plan.isKeptAlive = true
    plan.connections = 1
    plan.requests = 1000
    let report = try LoadGenerator.run(plan)
    #expect(report.requests == 1000)
    // About 300 of the 1000 arrivals fall into the standstill and wait 150 ms on average.
    #expect(report.latency.quantile(0.9) > 50_000_000)
    #expect(report.latency.maximum > 250_000_000)
  }

  private final class Counter: Sendable {
    private let count = Atomic<Int>(0)
    var value: Int { count.load(ordering: .relaxed) }
    func add() { count.add(1, ordering: .relaxed) }
  }
}
