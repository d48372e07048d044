// SPDX-License-Identifier: Apache-2.0

/// What a dispatcher did so far.
///
/// `requests == assignedTotal + noBackEnd + overloadedByFullQueue + overloadedByDeadline + abandoned + queued now`.
public struct DispatcherCounters: Hashable, Sendable {
  public var requests: UInt64 = 0
  /// By `DecisionReason.rawValue`.
  public var assigned = [UInt64](repeating: 0, count: DecisionReason.allCases.count)
  public var noBackEnd: UInt64 = 0
  public var overloadedByFullQueue: UInt64 = 0
  public var overloadedByDeadline: UInt64 = 0
  /// Waited in the queue when their distributor went away.
  public var abandoned: UInt64 = 0
  /// Requests that waited in the queue, however they ended.
  public var enqueued: UInt64 = 0
  public var returned: UInt64 = 0
  /// Returned assignments that were no longer open, or of no such back-end.
  public var returnedUnknown: UInt64 = 0
  public var reports: UInt64 = 0
  /// Reports of peers that are no registered back-end.
  public var strayReports: UInt64 = 0
  public var registrations: UInt64 = 0
  public var refusedRegistrations: UInt64 = 0
  public var lostBackEnds: UInt64 = 0
  /// Later requests of persistent connections; counted under their reasons in `assigned`, but not in `requests`.
  public var laterRequests: UInt64 = 0

  public init() {}

  public var assignedTotal: UInt64 {
    assigned.reduce(0, +) - laterRequests
  }

  public subscript(reason: DecisionReason) -> UInt64 { assigned[Int(reason.rawValue)] }
}
