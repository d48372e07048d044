// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import Dispatcher
import DispatcherCore
import LinuxKernel
import Logging
import Telemetry
import Wire

/// Decisions over one loopback control connection: the dispatcher's thread on one side, one distributor and all server nodes
/// of the cluster on the other, in this thread. Or, for comparison, a server that only echoes in place of the dispatcher.
final class WireBench {
  private enum Server {
    case dispatcher(DispatcherRole)
    case echo(EchoServer)
  }
  private let server: Server
  let distributor: ControlConnection
  let backEnds: [ControlConnection]
  var active: [UInt32]
  var ended: [UInt32]
  private var open: [UInt8] = Array(repeating: 0, count: 1 << 17)
  private var opened = 0
  private var closed = 0
  let stream: [UInt64]

  init(nodes: Int, stream: [UInt64], targets: Int) throws {
    var parameters = DispatcherParameters.with(.lard)
    parameters.tableCapacity = targets
    // The loads of a whole batch are reported at once, so that more than S are open for a moment.
    parameters.admission = .unlimited
    parameters.slowStart = 0
    // Threads inherit the processor of whoever starts them: the dispatcher gets the first, this thread the last.
    Machine.pin(to: 0)
    let role = try DispatcherService.start(
      DispatcherConfiguration(listen: Endpoint(Self.loopback, 0), name: "dispatcher", parameters: parameters),
      metrics: MetricsRegistry(), logger: Logger(label: "bench", factory: { _ in SwiftLogNoOpLogHandler() }))
    Machine.pin(to: Machine.processors - 1)
    server = .dispatcher(role)
    self.stream = stream
    (distributor, backEnds) = try Self.connect(to: role.endpoint, nodes: nodes)
    active = Array(repeating: 0, count: nodes)
    ended = active
    while role.snapshot.backEnds.count < nodes { try turn { _ in } }
  }

  /// The same connections and frames, and nothing decided.
  init(echoingFor nodes: Int, stream: [UInt64]) throws {
    Machine.pin(to: 0)
    let echo = try EchoServer(nodes: nodes, busyWait: DispatcherConfiguration(name: "").busyWait)
    Machine.pin(to: Machine.processors - 1)
    server = .echo(echo)
    self.stream = stream
    (distributor, backEnds) = try Self.connect(to: echo.endpoint, nodes: nodes)
    active = Array(repeating: 0, count: nodes)
    ended = active
  }

  private static let loopback = IPAddress(ipv4: 0x7f00_0001)

  private static func connect(
    to endpoint: Endpoint, nodes: Int
  ) throws -> (distributor: ControlConnection, backEnds: [ControlConnection]) {
    let now = MonotonicTime.now()
    let distributor = try ControlConnection.dial(endpoint, now: now)
    distributor.send(.hello(Hello(role: .distributor, instance: 1, name: "distributor")))
    let backEnds = try (0..<nodes).map { node in
      let connection = try ControlConnection.dial(endpoint, now: now)
      connection.send(.hello(Hello(role: .backEnd, instance: 1, name: "node-\(node)")))
      connection.send(
        .registerBackEnd(
          BackEndRegistration(
            address: loopback, mac: MACAddress(bits: UInt64(node)), handoffPort: 7001, serverPort: 8080, weight: 100,
            maximumConnections: 1_000_000)))
      connection.send(.loadReport(LoadReport(ended: 0, active: 0, state: .up)))
      return connection
    }
    return (distributor, backEnds)
  }

  deinit {
    switch server {
    case .dispatcher(let role):
      role.stop(draining: 0)
      role.join()
    case .echo(let echo): echo.end()
    }
  }

  /// How long the dispatcher has held batches of questions so far; empty for an echo.
  var held: LatencyHistogram {
    if case .dispatcher(let role) = server { role.snapshot.held } else { LatencyHistogram() }
  }

  /// A dispatcher gives silent peers up: to be called every second while something else is measured.
  func showLife() {
    for connection in [distributor] + backEnds {
      connection.send(.ping)
      try? connection.flush()
    }
  }

  /// Writes and reads once on every connection.
  private func turn(_ decided: ([Decision]) -> Void) throws {
    let now = MonotonicTime.now()
    try? distributor.flush()
    try receive(distributor, now, decided)
    for backEnd in backEnds {
      try? backEnd.flush()
      try receive(backEnd, now) { _ in }
    }
  }

  func receive(_ connection: ControlConnection, _ now: UInt64, _ decided: ([Decision]) -> Void) throws {
    do {
      try connection.receive(now: now) { message in
        if case .decisions(let decisions) = message { decided(decisions) }
      }
    } catch {
      // Not connected yet.
      if case .system(let system) = error, system.errno == 107 { return }
      throw error
    }
  }

  /// Counts new connections and lets the nodes report the oldest as ended.
  private func account(_ decisions: [Decision], keepingOpen kept: Int) {
    count(decisions, keepingOpen: kept)
    for node in backEnds.indices where ended[node] > 0 { report(node) }
  }

  func report(_ node: Int) {
    active[node] -= ended[node]
    backEnds[node].send(.loadReport(LoadReport(ended: ended[node], active: active[node], state: .up)))
    ended[node] = 0
    try? backEnds[node].flush()
  }

  func count(_ decisions: [Decision], keepingOpen kept: Int) {
    for case .assigned(let id) in decisions.map(\.outcome) {
      active[Int(id.rawValue)] += 1
      open[opened & (open.count - 1)] = UInt8(id.rawValue)
      opened += 1
    }
    while opened - closed > kept {
      ended[Int(open[closed & (open.count - 1)])] += 1
      closed += 1
    }
  }

  /// Full batches, the next as soon as one is answered: decisions per second of time, and per second of processor time of
  /// the dispatcher's thread, which others on the machine do not lengthen.
  func throughput(batch: Int, total: Int) throws -> (perSecond: Double, perProcessorSecond: Double) {
    let start = MonotonicTime.now()
    let processorStart = ProcessorTime.ofProcess() - ProcessorTime.ofThread()
    var asked = 0
    while asked < total {
      distributor.send(
        .decisionRequests(
          (asked..<asked + batch).map {
            DecisionRequest(id: UInt64($0), target: stream[$0 % stream.count])
          }))
      asked += batch
      try distributor.flush()
      var answered: [Decision] = []
      while answered.count < batch {
        try distributor.flush()
        try receive(distributor, MonotonicTime.now()) { answered += $0 }
      }
      account(answered, keepingOpen: 600)
    }
    let processor = ProcessorTime.ofProcess() - ProcessorTime.ofThread() - processorStart
    return (Double(asked) / Double(MonotonicTime.now() - start) * 1e9, Double(asked) / Double(processor) * 1e9)
  }
}
