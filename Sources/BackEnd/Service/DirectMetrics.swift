// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ForwardingPlane
import Telemetry

/// What `/metrics` shows of serving directly. Without a serving plane the families are there with zeros, so that a sum over
/// a mixed cluster works.
enum DirectMetrics {
  static func families(_ shared: AgentShared, _ tally: HandoffTally) -> [MetricFamily] {
    let counters = shared.plane.read()?.counters()
    return [
      MetricFamily(
        "handoff_backend_serves_directly",
        help: "1 while connections of the address family are given to the web server itself, 0 while they are relayed.",
        kind: .gauge,
        samples: [true, false].map { isIPv4 in
          MetricFamily.Sample(
            labels: [.init("family", isIPv4 ? "ipv4" : "ipv6")],
            value: counters != nil && shared.families.contains(isIPv4: isIPv4) ? 1 : 0)
        }),
      BackEndMetrics.counter(
        "handoff_backend_handoffs_direct_total", "Accepted handoffs that the web server itself took.", tally.direct),
      MetricFamily(
        "handoff_backend_handoffs_relayed_instead_total",
        help: "Handoffs that were relayed although the node serves directly, by reason.", kind: .counter,
        samples: DirectObstacle.allCases.map { obstacle in
          MetricFamily.Sample(
            labels: [.init("reason", obstacle.label)], value: Double(tally.fallenBack(obstacle)))
        }),
      BackEndMetrics.counter(
        "handoff_backend_direct_retries_total",
        "Segments sent to the web server's listener again: its accept queue was full, or the 4-tuple was in use.",
        tally.directRetries),
      BackEndMetrics.counter(
        "handoff_backend_packet_handoffs_total", "Handoffs that the kernel took from a packet.", tally.takenFromPackets),
      BackEndMetrics.counter(
        "handoff_backend_packet_handoffs_declined_total",
        "Handoffs by packet of which the kernel made no connection, so that they were asked for by message.",
        tally.packetsDeclined),
      BackEndMetrics.counter(
        "handoff_backend_connections_adopted_total", "Open connections found that an earlier agent had installed.",
        tally.adopted),
      MetricFamily(
        "handoff_backend_serving_packets_total", help: "Packets that the serving program saw, by outcome.",
        kind: .counter,
        samples: ServeOutcome.allCases.map { BackEndMetrics.sample($0.label, counters?[$0] ?? 0) }),
      BackEndMetrics.counter(
        "handoff_backend_direct_events_lost_total",
        "Reports of the kernel that did not fit the ring; the agent then compares its table with the kernel's.",
        counters?.eventsLost ?? 0),
      BackEndMetrics.counter(
        "handoff_backend_direct_untracked_total", "Connections that the kernel had no memory to follow.",
        counters?.untracked ?? 0),
      BackEndMetrics.counter(
        "handoff_backend_resets_silenced_total", "Resets withheld from clients whose connection had moved on.",
        counters?.silenced ?? 0),
    ]
  }
}

extension DirectObstacle {
  fileprivate var label: String {
    switch self {
    case .smallSegments: "small_segments"
    case .longRequest: "long_request"
    case .linkLocalClient: "link_local_client"
    case .kernelRefused: "kernel_refused"
    }
  }
}
