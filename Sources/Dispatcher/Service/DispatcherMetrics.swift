// SPDX-License-Identifier: Apache-2.0

internal import ControlProtocol
internal import DispatcherCore
internal import Telemetry

/// A snapshot as metric families.
///
/// `handoff_dispatcher_requests_total` = sum of `handoff_dispatcher_decisions_total` over all outcomes
/// + `handoff_dispatcher_queued_requests`; `handoff_dispatcher_lease_credits_granted_total` = sum of
/// `handoff_dispatcher_lease_credits_total` over all outcomes + `handoff_dispatcher_lease_credits`.
enum DispatcherMetrics {
  static func families(_ snapshot: DispatcherSnapshot) -> [MetricFamily] {
    decisions(snapshot) + leases(snapshot.leases) + loads(snapshot) + cluster(snapshot) + peers(snapshot)
  }

  private static func counter(_ name: String, _ help: String, _ value: UInt64) -> MetricFamily {
    MetricFamily("handoff_dispatcher_\(name)", help: help, kind: .counter, samples: [.init(value: Double(value))])
  }

  private static func gauge(_ name: String, _ help: String, _ value: UInt64) -> MetricFamily {
    MetricFamily("handoff_dispatcher_\(name)", help: help, kind: .gauge, samples: [.init(value: Double(value))])
  }

  private static func decisions(_ snapshot: DispatcherSnapshot) -> [MetricFamily] {
    let counters = snapshot.counters
    let policy = MetricFamily.Label("policy", snapshot.policy.rawValue)
    func sample(_ outcome: String, _ reason: String, _ value: UInt64) -> MetricFamily.Sample {
      .init(labels: [policy, .init("outcome", outcome), .init("reason", reason)], value: Double(value))
    }
    var samples = DecisionReason.allCases.filter { $0 != .local && $0 != .forwarded }
      .map { sample("assigned", $0.name, counters[$0]) }
    samples.append(sample("no_back_end", "none_up", counters.noBackEnd))
    samples.append(sample("overloaded", "queue_full", counters.overloadedByFullQueue))
    samples.append(sample("overloaded", "deadline", counters.overloadedByDeadline))
    samples.append(sample("abandoned", "distributor_lost", counters.abandoned))
    return [
      counter("requests_total", "Decision requests received.", counters.requests),
      MetricFamily(
        "handoff_dispatcher_decisions_total", help: "Decision requests answered, by outcome and reason.",
        kind: .counter, samples: samples),
      snapshot.held.family(
        name: "handoff_dispatcher_answer_seconds",
        help: "From the wake-up that brought decision requests to the write of their answers, by message."),
      gauge("queued_requests", "Decision requests that wait for the admission limit.", UInt64(snapshot.queued)),
      counter("enqueued_requests_total", "Decision requests that had to wait.", counters.enqueued),
      counter("assignments_returned_total", "Assignments that a distributor could not use.", counters.returned),
      counter(
        "assignments_returned_unknown_total", "Returned assignments that were not open any more.",
        counters.returnedUnknown),
      counter(
        "assignments_forgotten_total", "Assignments that nobody reported or returned in time.",
        snapshot.forgottenAssignments),
    ]
  }

  private static func leases(_ ledger: LeaseLedger) -> [MetricFamily] {
    func sample(_ outcome: String, _ value: UInt64) -> MetricFamily.Sample {
      .init(labels: [.init("outcome", outcome)], value: Double(value))
    }
    return [
      counter("leases_total", "Decisions that distributors may repeat without asking.", ledger.leases),
      counter("lease_credits_granted_total", "Repetitions that leases allowed.", ledger.granted),
      MetricFamily(
        "handoff_dispatcher_lease_credits_total", help: "Repetitions that leases allowed, by what became of them.",
        kind: .counter,
        samples: [
          sample("used", ledger.used), sample("returned", ledger.returned), sample("lost", ledger.lost),
        ]),
      counter(
        "lease_credits_unknown_total", "Repetitions that distributors told of and that no lease allows any more.",
        ledger.unknown),
      gauge("lease_credits", "Repetitions that distributors have and have not told of.", ledger.outstanding),
    ]
  }

  private static func loads(_ snapshot: DispatcherSnapshot) -> [MetricFamily] {
    func family(_ name: String, _ help: String, _ value: (DispatcherSnapshot.BackEnd) -> UInt32) -> MetricFamily {
      MetricFamily(
        "handoff_dispatcher_\(name)", help: help, kind: .gauge,
        samples: snapshot.backEnds.map { .init(labels: [.init("back_end", $0.name)], value: Double(value($0))) })
    }
    let states = snapshot.backEnds.flatMap { backEnd in
      BackEndState.allCases.map { state in
        MetricFamily.Sample(
          labels: [.init("back_end", backEnd.name), .init("state", "\(state)")],
          value: backEnd.state == state ? 1 : 0)
      }
    }
    return [
      family("back_end_connections", "Connections of the back-end: open and on their way.") { $0.connections },
      family("back_end_in_flight", "Assignments that the back-end has not reported yet.") { $0.inFlight },
      family("back_end_held", "Connections that leases may still bring to the back-end.") { $0.held },
      family("back_end_weight", "Capacity of the back-end; 100 is an average node.") { $0.weight },
      MetricFamily(
        "handoff_dispatcher_back_end_state", help: "1 for the state that the back-end is in.", kind: .gauge,
        samples: states),
    ]
  }

  private static func cluster(_ snapshot: DispatcherSnapshot) -> [MetricFamily] {
    [
      gauge("connections", "Connections on all back-ends that take new ones.", snapshot.connections),
      gauge("admission_limit", "Connections that the cluster takes at a time.", snapshot.admissionLimit),
      gauge("targets", "Targets in the target table.", UInt64(snapshot.targets)),
      gauge("target_capacity", "Targets that the target table can hold.", UInt64(snapshot.targetCapacity)),
      counter("targets_given_up_total", "Targets forgotten for others.", snapshot.targetsGivenUp),
      gauge("ties", "Clients and sessions that stick to a server node.", UInt64(snapshot.ties)),
      counter("ties_given_up_total", "Ties forgotten for others before their time.", snapshot.tiesGivenUp),
      gauge("view_epoch", "Changes of the membership so far.", snapshot.epoch),
    ]
  }

  private static func peers(_ snapshot: DispatcherSnapshot) -> [MetricFamily] {
    let counters = snapshot.counters
    return [
      gauge("peers", "Control connections.", UInt64(snapshot.peers)),
      MetricFamily(
        "handoff_dispatcher_peers_ended_total", help: "Control connections that ended, by reason.", kind: .counter,
        samples: PeerEnd.allCases.map {
          .init(labels: [.init("reason", $0.name)], value: Double(snapshot.ended[Int($0.rawValue)]))
        }),
      counter("accept_failures_total", "Control connections that could not be accepted.", snapshot.failedAccepts),
      counter("turns_total", "Turns of the event loop.", snapshot.waits),
      counter(
        "turns_without_sleep_total", "Turns that came without the thread having slept.", snapshot.waitsWithoutSleep),
      counter("messages_received_total", "Messages from nodes, without keep-alive.", snapshot.messagesReceived),
      counter("messages_sent_total", "Messages to nodes, without keep-alive.", snapshot.messagesSent),
      counter("reports_total", "Load reports taken.", counters.reports),
      counter("stray_reports_total", "Load reports of peers that are no registered back-end.", counters.strayReports),
      counter("registrations_total", "Registrations taken.", counters.registrations),
      counter("registrations_refused_total", "Registrations refused.", counters.refusedRegistrations),
      counter("back_ends_lost_total", "Back-ends whose control connection ended.", counters.lostBackEnds),
    ]
  }
}
