// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import LinuxKernel
import Telemetry

/// What one worker counts beside the responder's own counters; copied out for scrapes.
struct DistributorStatistics: Sendable {
  var responder = ResponderCounters()
  var openConnections = 0
  var liveFlows = 0
  var packetsSent: UInt64 = 0
  /// Packets that the kernel did not take; to TCP they are lost packets.
  var packetsNotSent: UInt64 = 0
  var packetsDelivered: UInt64 = 0
  var unknownFlowPackets: UInt64 = 0
  var queueErrors: UInt64 = 0
  var decisionsWanted: UInt64 = 0
  var decisionsLocal: UInt64 = 0
  /// Taken without asking, under a lease.
  var decisionsLeased: UInt64 = 0
  var leaseCredits: UInt64 = 0
  var leasesEvicted: UInt64 = 0
  var flowTableFull: UInt64 = 0
  /// Flows that ended because their back-end was lost.
  var flowsLost: UInt64 = 0
  /// Flows removed because nothing came from their client for a long time.
  var flowsIdle: UInt64 = 0
  /// Bytes of the longest packet that clients are told to send.
  var longestPacket = 0
  /// From the complete request head to the back-end's acceptance.
  var handoffTime = LatencyHistogram()
}

extension DistributorWorker {
  /// Nanoseconds between copies of the counters.
  static let publishInterval: UInt64 = 50_000_000

  mutating func publishIfDue() {
    if isUnpublished, core.now >= publishAt { publish() }
  }

  mutating func publish() {
    statistics.responder = core.responder.counters
    statistics.openConnections = core.responder.openConnections
    statistics.liveFlows = flows.active
    statistics.leaseCredits = leases.credits + leases.lent
    statistics.leasesEvicted = leases.evictions
    statistics.longestPacket = longestPacket
    shared.statistics[index].publish(statistics)
    // The wall clock may have been set; the responder only needs seconds.
    core.responder.setClock(secondsSince1970: UInt64(max(0, WallClock.microseconds() / 1_000_000)), now: core.now)
    isUnpublished = false
    publishAt = MonotonicTime.tick(after: core.now, every: DistributorWorker.publishInterval)
  }
}
