// SPDX-License-Identifier: Apache-2.0

import AdminReports
import ControlProtocol
import Dispatcher
import DispatcherCore
import Rules
import Synchronization
import Telemetry
import Wire

/// The dispatcher's admin pages: `/dispatcher/why` and `/dispatcher/top`.
enum DispatcherPages {
  static func add(_ role: DispatcherRole, to pages: AdminPages) {
    pages.add(WhyReport.path) { await why(role, $0) }
    pages.add(TopReport.path) { await top(role, $0) }
  }

  private static let ended = AdminPages.Page.text("the dispatcher has ended", status: 503)

  private static func json(_ report: some AdminReport) -> AdminPages.Page {
    AdminPages.Page(contentType: "application/json", body: Array(report.json()) + [0x0a])
  }

  // MARK: why

  private static func why(_ role: DispatcherRole, _ query: [String: String]) async -> AdminPages.Page {
    guard let target = query["target"] else {
      return .text("which target? ask for \(WhyReport.path)?target=/path&host=NAME&client=ADDRESS", status: 400)
    }
    guard let client = IPAddress(query["client"] ?? "127.0.0.1") else {
      return .text("client: '\(query["client"] ?? "")' is no address", status: 400)
    }
    let question: RequestQuestion
    do throws(RequestQuestion.Failure) {
      question = try RequestQuestion(
        method: query["method"] ?? "GET", target: target, host: query["host"], cookie: query["cookie"], client: client)
    } catch {
      switch error {
      case .lineBreak: return .text("line breaks are not allowed in a request", status: 400)
      case .invalid(let refusal):
        return .text(
          "a distributor would answer this request with \(refusal.status) by itself: \(refusal.reason)", status: 400)
      }
    }
    guard let explanation = await OneShot.wait(for: { role.explain(question, $0) }) else { return ended }
    return json(WhyReport(explanation, role.snapshot))
  }

  // MARK: top

  private static func top(_ role: DispatcherRole, _ query: [String: String]) async -> AdminPages.Page {
    let count = query["targets"].flatMap { Int($0) } ?? 10
    guard (0...1000).contains(count) else { return .text("targets: give a number from 0 to 1000", status: 400) }
    guard let hottest = await OneShot.wait(for: { role.hottestTargets(count, $0) }) else { return ended }
    return json(TopReport(hottest, role.snapshot))
  }
}

extension WhyReport {
  init(_ explanation: RequestExplanation, _ snapshot: DispatcherSnapshot) {
    let placement = explanation.placement
    let names = Dictionary(uniqueKeysWithValues: placement.candidates.map { ($0.id, $0.name) })
    let pools = Dictionary(uniqueKeysWithValues: snapshot.backEnds.map { ($0.name, $0.pools) })
    let rule = explanation.rule.map { explanation.rules[$0] }
    self.init(
      target: explanation.target.hexadecimal, policy: placement.policy.rawValue, rule: explanation.rule.map { $0 + 1 },
      ruleName: rule.flatMap { $0.name.isEmpty ? nil : $0.name }, pool: rule?.pool,
      sticksBy: explanation.route.affinity.map { $0.seed == 0 ? "client" : "cookie" }, outcome: "", node: nil,
      reason: nil, because: "", replicas: placement.replicas.map { names[$0] ?? "?" },
      nodes: placement.candidates.map { NodeReport($0, pools: pools[$0.name] ?? []) },
      connections: placement.connections,
      admissionLimit: placement.admissionLimit == .max ? nil : placement.admissionLimit)
    switch placement.verdict {
    case .assigned(_, let name, let reason):
      outcome = "assigned"
      node = name
      self.reason = reason.name
      because = reason.sentence
    case .waits(let position):
      outcome = "waits"
      because =
        placement.connections + placement.held >= placement.admissionLimit
        ? "the cluster is at its admission limit, and \(position) requests wait already"
        : "every node that may serve it is at its maximum of connections"
    case .noBackEnd:
      outcome = "no_back_end"
      because = rule?.pool.map { "no node of pool \($0) is up" } ?? "no node is up"
    }
  }
}

extension TopReport {
  init(_ hottest: [HotTarget], _ snapshot: DispatcherSnapshot) {
    let names = Dictionary(uniqueKeysWithValues: snapshot.backEnds.map { ($0.id, $0.name) })
    var decisions: [String: UInt64] = [
      "no_back_end": snapshot.counters.noBackEnd,
      "overloaded": snapshot.counters.overloadedByFullQueue + snapshot.counters.overloadedByDeadline,
      "abandoned": snapshot.counters.abandoned, "leased": snapshot.leases.used,
    ]
    for reason in DecisionReason.allCases { decisions[reason.name] = snapshot.counters[reason] }
    self.init(
      policy: snapshot.policy.rawValue, nodes: snapshot.backEnds.map { NodeReport($0) },
      hottest: hottest.map { target in
        Target(
          hash: target.hash.hexadecimal, uses: UInt64(target.uses), replicas: target.replicas.map { names[$0] ?? "?" })
      }, targets: UInt64(snapshot.targets), targetCapacity: UInt64(snapshot.targetCapacity),
      ties: UInt64(snapshot.ties),
      connections: snapshot.connections,
      admissionLimit: snapshot.admissionLimit == .max ? nil : snapshot.admissionLimit, queued: UInt64(snapshot.queued),
      requests: snapshot.counters.requests + snapshot.leases.used, decisions: decisions.filter { $0.value > 0 })
  }
}

extension NodeReport {
  fileprivate init(_ node: Explanation.Candidate, pools: [String]) {
    self.init(
      name: node.name, state: "\(node.state)", connections: UInt64(node.connections), load: node.relativeLoad,
      weight: UInt64(node.weight), maximumConnections: UInt64(node.hardMaximum), pools: pools,
      excludedBecause: node.exclusion?.rawValue)
  }

  fileprivate init(_ node: DispatcherSnapshot.BackEnd) {
    self.init(
      name: node.name, state: "\(node.state)", connections: UInt64(node.connections), load: node.relativeLoad,
      weight: UInt64(node.weight), maximumConnections: UInt64(node.hardMaximum), pools: node.pools)
  }
}

extension UInt64 {
  fileprivate var hexadecimal: String {
    let digits = String(self, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}

/// Turns a callback that may never come into a value that always does: nil when the callback is thrown away.
private final class OneShot<Value: Sendable>: Sendable {
  private let continuation: Mutex<CheckedContinuation<Value?, Never>?>

  private init(_ continuation: CheckedContinuation<Value?, Never>) { self.continuation = Mutex(continuation) }

  deinit { give(nil) }

  private func give(_ value: Value?) { continuation.withLock { $0.take() }?.resume(returning: value) }

  static func wait(for ask: (@escaping @Sendable (Value) -> Void) -> Void) async -> Value? {
    await withCheckedContinuation { continuation in
      let shot = OneShot(continuation)
      ask { shot.give($0) }
    }
  }
}
