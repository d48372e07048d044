// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import Dispatcher
import DispatcherCore
import LinuxKernel
import Logging
import Rules
import Telemetry
import Testing
import Wire

let loopback = IPAddress(ipv4: 0x7f00_0001)

/// A dispatcher on a free port of the loopback address; ended with the test.
final class TestDispatcher {
  let role: DispatcherRole
  let metrics = MetricsRegistry()

  init(
    port: UInt16 = 0, peerQueueLimit: Int = 8 << 20, rules: [Rule] = [],
    _ change: (inout DispatcherParameters) -> Void = { _ in }
  ) throws {
    var parameters = DispatcherParameters(tableCapacity: 1000, slowStart: 0)
    change(&parameters)
    let configuration = DispatcherConfiguration(
      listen: Endpoint(loopback, port), name: "dispatcher", parameters: parameters, rules: rules,
      peerQueueLimit: peerQueueLimit)
    role = try DispatcherService.start(
      configuration, metrics: metrics, logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
  }

  deinit {
    role.stop(draining: 0)
    role.join()
  }

  /// Waits until the published snapshot satisfies a condition.
  func wait(for condition: (DispatcherSnapshot) -> Bool) -> Bool {
    let deadline = MonotonicTime.now() + 5_000_000_000
    while MonotonicTime.now() < deadline {
      if condition(role.snapshot) { return true }
      pause()
    }
    return condition(role.snapshot)
  }

  func metric(_ name: String, _ labels: [String: String] = [:]) -> Double {
    let families = metrics.collect().filter { $0.name == "handoff_dispatcher_\(name)" }
    let samples = families.flatMap(\.samples).filter { sample in
      labels.allSatisfy { label in sample.labels.contains { $0.name == label.key && $0.value == label.value } }
    }
    return samples.reduce(0) { $0 + $1.value }
  }
}

/// Gives the processor away for a moment while a condition is awaited.
func pause() {
  if var epoll = try? Epoll(capacity: 1) { _ = epoll.wait(until: MonotonicTime.now() + 1_000_000) }
}

/// One node of the test: a control connection that keeps what it hears.
final class TestNode {
  let connection: ControlConnection
  private(set) var messages: [Message] = []
  private(set) var view: ClusterView?
  private(set) var decisions: [Decision] = []
  private(set) var credits: [LeaseCredit] = []
  private(set) var targets: [TargetLease] = []
  private(set) var rules: [RuleSet] = []
  private(set) var goodbye: String?
  private(set) var end: ControlChannelError?
  private(set) var dispatcher: Hello?

  init(
    _ dispatcher: TestDispatcher, _ role: Role, _ name: String, instance: UInt64 = 1,
    version: UInt16 = ControlProtocolVersion.current
  ) throws {
    connection = try ControlConnection.dial(dispatcher.role.endpoint, now: MonotonicTime.now())
    connection.send(.hello(Hello(version: version, role: role, instance: instance, name: name)))
  }

  init(silentAt dispatcher: TestDispatcher) throws {
    connection = try ControlConnection.dial(dispatcher.role.endpoint, now: MonotonicTime.now())
  }

  /// Sends and receives once.
  func turn() {
    guard end == nil else { return }
    let now = MonotonicTime.now()
    do {
      _ = try connection.keepAlive(now: now)
      try connection.flush()
      try connection.receive(now: now) { hear($0) }
    } catch {
      // A connection under way has no peer yet.
      if case .system(let system) = error, system.errno == 107 || system.errno == 11 { return }
      end = error
    }
  }

  private func hear(_ message: consuming Message) {
    let message = message
    messages.append(message)
    switch message {
    case .hello(let hello): dispatcher = hello
    case .clusterView(let view): self.view = view
    case .decisions(let decisions): self.decisions += decisions
    case .leaseCredits(let credits): self.credits += credits
    case .targetLeases(let leases): targets += leases
    case .rules(let set): rules.append(set)
    case .goodbye(let text): goodbye = text
    default: break
    }
  }

  func registerBackEnd(weight: UInt16 = 100, maximum: UInt32 = 1000, pools: [String] = []) {
    connection.send(
      .registerBackEnd(
        BackEndRegistration(
          address: loopback, mac: MACAddress(bits: 2), handoffPort: 7001, serverPort: 8080, weight: weight,
          maximumConnections: maximum, pools: pools)))
    report(active: 0)
  }

  func report(ended: UInt32 = 0, active: UInt32, state: BackEndState = .up) {
    connection.send(.loadReport(LoadReport(ended: ended, active: active, state: state)))
  }

  func ask(_ ids: Range<UInt64>, excluded: BackEndID? = nil) {
    connection.send(
      .decisionRequests(
        ids.map { DecisionRequest(id: $0, target: $0 &* 0x9e37_79b9_7f4a_7c15, excluded: excluded) }))
  }
}

/// Lets all nodes talk until a condition holds; false after five seconds.
func talk(_ nodes: [TestNode], until condition: () -> Bool) -> Bool {
  let deadline = MonotonicTime.now() + 5_000_000_000
  while MonotonicTime.now() < deadline {
    for node in nodes { node.turn() }
    if condition() { return true }
    pause()
  }
  return condition()
}
