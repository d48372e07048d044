// SPDX-License-Identifier: Apache-2.0

/// What decides how a dispatcher decides.
public struct DispatcherParameters: Sendable {
  public var policy: Policy
  /// Thresholds that the admission limit is computed from.
  public var thresholds: LARDThresholds
  /// Targets that are remembered; 32 bytes each.
  public var tableCapacity: Int
  public var admission: Admission
  /// Requests that may wait when the limit is reached.
  public var queueCapacity: Int
  /// Nanoseconds that a request may wait.
  public var queueDeadline: UInt64
  /// Nanoseconds until an assignment that nobody reported or returned no longer counts.
  public var assignmentLifetime: UInt64
  /// Nanoseconds in which a node that joins a running cluster grows from 1/16 of its weight to all of it; 0 for none.
  public var slowStart: UInt64
  /// Nanoseconds of silence after which another process may take over a node name.
  public var takeoverSilence: UInt64
  /// Clients and sessions whose back-end is remembered; 16 bytes each, once the first one sticks.
  public var affinityCapacity: Int
  /// Which decisions a distributor may repeat by itself.
  public var leases: LeaseTerms

  public init(
    policy: Policy = Policy(.replicatedLARD), thresholds: LARDThresholds = LARDThresholds(),
    tableCapacity: Int = 1_000_000, admission: Admission = .thresholds, queueCapacity: Int = 4096,
    queueDeadline: UInt64 = 2_000_000_000, assignmentLifetime: UInt64 = 10_000_000_000,
    slowStart: UInt64 = 10_000_000_000, takeoverSilence: UInt64 = 1_000_000_000, affinityCapacity: Int = 262_144,
    leases: LeaseTerms = .none
  ) {
    self.policy = policy
    self.thresholds = thresholds
    self.tableCapacity = tableCapacity
    self.admission = admission
    self.queueCapacity = queueCapacity
    self.queueDeadline = queueDeadline
    self.assignmentLifetime = assignmentLifetime
    self.slowStart = slowStart
    self.takeoverSilence = takeoverSilence
    self.affinityCapacity = affinityCapacity
    self.leases = leases
  }

  /// The named policy with the papers' constants and thresholds of its own put in.
  public static func with(_ name: PolicyName, thresholds: LARDThresholds = LARDThresholds()) -> DispatcherParameters {
    let policy: Policy =
      switch name {
      case .lard: .lard(LARD(thresholds: thresholds))
      case .replicatedLARD: .replicatedLARD(ReplicatedLARD(thresholds: thresholds))
      case .anchoredLARD: .anchoredLARD(AnchoredLARD(thresholds: thresholds))
      default: Policy(name)
      }
    return DispatcherParameters(policy: policy, thresholds: thresholds)
  }
}
