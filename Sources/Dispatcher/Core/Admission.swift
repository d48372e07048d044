// SPDX-License-Identifier: Apache-2.0

/// How many connections the cluster takes at a time.
public enum Admission: Hashable, Sendable {
  /// S = (n - 1) * T_high + T_low - 1 of the ASPLOS paper: with so many connections at most n - 2 nodes can be at T_high
  /// while no node is below T_low, so an overloaded node always finds one to give to.
  case thresholds
  case fixed(UInt64)
  case unlimited

  /// The limit for the eligible nodes of `loads`.
  ///
  /// With weights, S is the greatest number that keeps the guarantee whichever node is the idle one:
  /// sum(T_high * w) - max((T_high - T_low) * w) - 1. One node has nobody to give to: its limit is 2 * T_high, the load at
  /// which LARD calls a node overloaded.
  func limit(_ thresholds: LARDThresholds, _ loads: borrowing LoadBook) -> UInt64 {
    switch self {
    case .fixed(let limit): return limit
    case .unlimited: return .max
    case .thresholds:
      let high = UInt64(thresholds.high)
      let weights = loads.totalWeight
      if loads.eligible.count <= 1 { return 2 * high * weights / 100 }
      let gap = high - UInt64(thresholds.low)
      let sum = (high * weights - gap * UInt64(loads.maximumWeight)) / 100
      return max(1, sum) - 1
    }
  }
}
