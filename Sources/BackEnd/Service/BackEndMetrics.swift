// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ForwardingPlane
import Handoff
import Telemetry

/// What the agent shows at `/metrics`. Sums agree: handoffs received are accepted, refused, aborted or under way; accepted
/// and adopted ones are ended or active.
enum BackEndMetrics {
  static func families(_ shared: AgentShared) -> [MetricFamily] {
    let reports = shared.mailboxes.map { $0.report.read() }
    let status = shared.status.read()
    var tally = HandoffTally()
    var install = LatencyHistogram()
    for report in reports {
      tally.add(report.tally)
      install.merge(report.installTime)
    }
    return handoffs(tally) + connections(tally) + DirectMetrics.families(shared, tally) + tunnels(shared) + [
      install.family(
        name: "handoff_backend_install_seconds",
        help: "Time from a handoff's arrival at the agent to its answer, with the web server connected."),
      gauge(
        "handoff_backend_held_bytes", "Bytes read and not yet taken by a slow receiver.",
        reports.reduce(0) { $0 + $1.heldBytes }),
      gauge(
        "handoff_backend_connection_limit", "The most connections that the agent takes.", shared.budget.limit),
      gauge(
        "handoff_backend_control_connections", "Control connections of distributors.",
        reports.reduce(0) { $0 + $1.controlConnections }),
      gauge("handoff_backend_server_up", "1 while the web server accepts connections.", status.serverUp ? 1 : 0),
      gauge(
        "handoff_backend_dispatcher_connected", "1 while registered at the dispatcher.",
        status.dispatcherConnected ? 1 : 0),
      gauge(
        "handoff_backend_served_addresses", "Addresses that the node takes clients' packets for.",
        status.servedAddresses),
      counter(
        "handoff_backend_dispatcher_losses_total", "Control connections to the dispatcher that broke.",
        status.dispatcherReconnects),
      counter(
        "handoff_backend_control_connections_refused_total",
        "Control connections of distributors that could not be accepted.", status.controlConnectionsRefused),
    ]
  }

  private static func handoffs(_ tally: HandoffTally) -> [MetricFamily] {
    var samples = [
      sample("accepted", tally.accepted), sample("aborted", tally.abortedBeforeAnswer),
    ]
    for reason in HandoffRefusal.allCases { samples.append(sample("refused_\(reason.label)", tally.refused(reason))) }
    return [
      counter("handoff_backend_handoffs_received_total", "Handoffs that distributors sent.", tally.received),
      MetricFamily(
        "handoff_backend_handoffs_total", help: "Handoffs by outcome.", kind: .counter, samples: samples),
      counter(
        "handoff_backend_tuples_freed_total", "Old connections removed for a new one with the same 4-tuple.",
        tally.tuplesFreed),
      counter(
        "handoff_backend_aborts_unknown_total", "Aborts of handoffs that the agent did not have.",
        tally.abortsWithoutHandoff),
    ]
  }

  private static func tunnels(_ shared: AgentShared) -> [MetricFamily] {
    guard let counts = shared.tunnelCounters.read()?.read() else { return [] }
    return [
      MetricFamily(
        "handoff_backend_tunnel_packets_total",
        help: "Packets that came to the node's interface by what the tunnels' end did with them.", kind: .counter,
        samples: TunnelOutcome.allCases.map { sample($0.label, counts[$0.rawValue]) })
    ]
  }

  private static func connections(_ tally: HandoffTally) -> [MetricFamily] {
    [
      MetricFamily(
        "handoff_backend_connections_ended_total", help: "Connections by how they ended.", kind: .counter,
        samples: RelayEnd.allCases.map { sample($0.label, tally.ended($0)) }),
      gauge("handoff_backend_connections_active", "Connections open now.", Int(tally.active)),
      MetricFamily(
        "handoff_backend_relayed_bytes_total",
        help: "Bytes passed on, or counted by the kernel at the end of a direct connection.", kind: .counter,
        samples: [
          MetricFamily.Sample(labels: [.init("from", "client")], value: Double(tally.bytesFromClients)),
          MetricFamily.Sample(labels: [.init("from", "server")], value: Double(tally.bytesFromServers)),
        ]),
    ]
  }

  static func sample(_ outcome: String, _ value: UInt64) -> MetricFamily.Sample {
    MetricFamily.Sample(labels: [.init("outcome", outcome)], value: Double(value))
  }

  static func counter(_ name: String, _ help: String, _ value: UInt64) -> MetricFamily {
    MetricFamily(name, help: help, kind: .counter, samples: [.init(value: Double(value))])
  }

  static func gauge(_ name: String, _ help: String, _ value: Int) -> MetricFamily {
    MetricFamily(name, help: help, kind: .gauge, samples: [.init(value: Double(value))])
  }
}

extension HandoffRefusal {
  fileprivate var label: String {
    switch self {
    case .serverUnreachable: "server_unreachable"
    case .overloaded: "overloaded"
    case .addressNotServed: "address_not_served"
    case .tupleInUse: "tuple_in_use"
    case .kernelRefused: "kernel_refused"
    case .draining: "draining"
    }
  }
}

extension RelayEnd {
  fileprivate var label: String {
    switch self {
    case .clientClosedFirst: "client_closed_first"
    case .serverClosedFirst: "server_closed_first"
    case .clientReset: "client_reset"
    case .serverReset: "server_reset"
    case .idleTimeout: "idle_timeout"
    case .halfClosedTimeout: "half_closed_timeout"
    case .aborted: "aborted"
    case .drained: "drained"
    case .timedOut: "timed_out"
    case .unobserved: "unobserved"
    }
  }
}
