// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import ForwardingPlane
import Telemetry

extension DistributorRole {
  /// Everything that the distributor counts, with a label for the worker; sums over workers are the reader's.
  func metricFamilies() -> [MetricFamily] {
    let workers = shared.statistics.map { $0.read() }
    return responderFamilies(workers) + outcomeFamilies(workers) + workerFamilies(workers) + [
      planeFamily(), driverFamily(),
    ]
  }

  private func responderFamilies(_ workers: [DistributorStatistics]) -> [MetricFamily] {
    let names = ResponderCounters().all.map(\.name)
    return names.enumerated().map { index, name in
      family(name, "The responder's \(name.replacing("_", with: " "))", workers) { $0.responder.all[index].value }
    }
  }

  private func outcomeFamilies(_ workers: [DistributorStatistics]) -> [MetricFamily] {
    [
      outcomes("packets_total", "Client packets in user space by what became of them", workers) {
        $0.responder.packets.all
      },
      outcomes("handshakes_total", "Handshakes with an entry by their end", workers) { $0.responder.handshakes.all },
      outcomes("connections_total", "Accepted connections by their end at the distributor", workers) {
        $0.responder.connections.all
      },
      outcomes("handoffs_total", "Handoff attempts by their end", workers) { $0.responder.attempts.all },
    ]
  }

  private func workerFamilies(_ workers: [DistributorStatistics]) -> [MetricFamily] {
    let handoffTime = MetricFamily(
      "handoff_distributor_handoff_duration_seconds",
      help: "From the complete request head to the back-end's acceptance", kind: .histogram,
      samples: workers.enumerated().flatMap { index, worker in
        worker.handoffTime.samples(labels: [MetricFamily.Label("worker", "\(index)")])
      })
    return [
      handoffTime,
      family("live_flows", "Handed-off connections that have not ended", workers) { UInt64($0.liveFlows) },
      family("packets_sent_total", "Packets sent to clients by raw socket", workers) { $0.packetsSent },
      family("packets_not_sent_total", "Packets that the kernel did not take", workers) { $0.packetsNotSent },
      family("packets_delivered_total", "Held or late client packets sent on to a back-end", workers) {
        $0.packetsDelivered
      },
      family("unknown_flow_packets_total", "Segments that belong to no connection", workers) {
        $0.unknownFlowPackets
      },
      family("queue_errors_total", "Failed reads of the packet queue", workers) { $0.queueErrors },
      family("decisions_total", "Decisions wanted", workers) { $0.decisionsWanted },
      family("local_decisions_total", "Decisions taken without the dispatcher", workers) { $0.decisionsLocal },
      family("leased_decisions_total", "Decisions taken without asking, under a lease of the dispatcher", workers) {
        $0.decisionsLeased
      },
      family("lease_credits", "Requests that may go to back-ends without asking", workers) { $0.leaseCredits },
      family("leases_given_up_total", "Targets with a lease given up for others before their time", workers) {
        $0.leasesEvicted
      },
      family("flow_table_full_total", "Handoffs refused because the flow table was full", workers) {
        $0.flowTableFull
      },
      family("flows_lost_total", "Flows that ended because their back-end was lost", workers) { $0.flowsLost },
      family("flows_idle_total", "Flows removed because their client was silent", workers) { $0.flowsIdle },
      family("longest_packet_bytes", "The longest packet that new clients are told to send", workers) {
        UInt64($0.longestPacket)
      },
    ]
  }

  private func planeFamily() -> MetricFamily {
    let counters = forwardingCounters()
    return MetricFamily(
      "handoff_forwarding_packets_total", help: "Packets at the interface by what the forwarding plane did",
      kind: .counter,
      samples: ForwardingOutcome.allCases.map { outcome in
        MetricFamily.Sample(
          labels: [MetricFamily.Label("outcome", outcome.label)], value: Double(counters?[outcome] ?? 0))
      })
  }

  private func driverFamily() -> MetricFamily {
    let counters = shared.driver.counters()
    return MetricFamily(
      "handoff_driver_packets_total",
      help:
        "Frames at the interface's driver by what the forwarding program there did; those passed are counted again at tc",
      kind: .counter,
      samples: DriverOutcome.allCases.map { outcome in
        MetricFamily.Sample(
          labels: [MetricFamily.Label("outcome", outcome.label)], value: Double(counters[outcome]))
      })
  }

  private func family(
    _ name: String, _ help: String, _ workers: [DistributorStatistics], _ value: (DistributorStatistics) -> UInt64
  ) -> MetricFamily {
    MetricFamily(
      "handoff_distributor_\(name)", help: help, kind: name.hasSuffix("_total") ? .counter : .gauge,
      samples: workers.enumerated().map { index, worker in
        MetricFamily.Sample(labels: [MetricFamily.Label("worker", "\(index)")], value: Double(value(worker)))
      })
  }

  private func outcomes(
    _ name: String, _ help: String, _ workers: [DistributorStatistics],
    _ values: (DistributorStatistics) -> [(name: String, value: UInt64)]
  ) -> MetricFamily {
    var samples: [MetricFamily.Sample] = []
    for (index, worker) in workers.enumerated() {
      for outcome in values(worker) {
        samples.append(
          MetricFamily.Sample(
            labels: [MetricFamily.Label("worker", "\(index)"), MetricFamily.Label("outcome", outcome.name)],
            value: Double(outcome.value)))
      }
    }
    return MetricFamily("handoff_distributor_\(name)", help: help, kind: .counter, samples: samples)
  }
}
