// SPDX-License-Identifier: Apache-2.0

/// Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018; HAProxy's hash-balance-factor, Envoy's
/// hash_balance_factor): no node takes more than `factor` times its fair share of the connections; what is above goes to the
/// next node on the ring.
public struct BoundedLoadHash: Sendable {
  var ring = HashRing()
  /// In percent, above 100. 125 to 200 is sensible; near 100 balances best and keeps least locality.
  public var factorPercent: UInt64

  public init(factorPercent: UInt64 = 125) { self.factorPercent = max(101, factorPercent) }

  func choose(_ request: Policy.Request, _ loads: borrowing LoadBook) -> Policy.Choice {
    let found = ring.walk(from: request.target, candidates: request.candidates) { index in
      UInt64(loads.connections(index)) < bound(index, loads)
    }
    if let found {
      return Policy.Choice(index: found.index, reason: found.isFirst ? .hashed : .displaced, mapping: nil)
    }
    // Every node with room for this pool is above its share of the whole cluster: the least of them.
    return Policy.Choice(
      index: loads.leastLoaded(of: request.candidates, target: request.target), reason: .displaced, mapping: nil)
  }

  /// The most connections of a node with one more in the cluster: ceil(factor * (total + 1) * w(n) / W).
  func bound(_ index: Int, _ loads: borrowing LoadBook) -> UInt64 {
    let weights = max(1, loads.totalWeight)
    let share = (loads.total + 1) * UInt64(loads.weight(index)) * factorPercent
    return (share + 100 * weights - 1) / (100 * weights)
  }
}
