// SPDX-License-Identifier: Apache-2.0

/// Locality without regard to load: the target's hash names the node (LB of the ASPLOS paper), here by consistent hashing
/// with weights. A node that cannot take the request passes it on along the ring.
public struct HashPolicy: Sendable {
  var ring = HashRing()

  public init() {}

  func choose(_ request: Policy.Request, _ loads: borrowing LoadBook) -> Policy.Choice {
    if let found = ring.walk(from: request.target, candidates: request.candidates, { _ in true }) {
      return Policy.Choice(index: found.index, reason: found.isFirst ? .hashed : .displaced, mapping: nil)
    }
    return Policy.Choice(
      index: loads.leastLoaded(of: request.candidates, target: request.target), reason: .displaced, mapping: nil)
  }
}
