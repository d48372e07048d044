// SPDX-License-Identifier: Apache-2.0

/// Weighted least connections: the node with the fewest open connections per weight, whatever the content.
public struct LeastConnections: Sendable, BitwiseCopyable {
  public init() {}

  func choose(_ request: Policy.Request, _ loads: borrowing LoadBook) -> Policy.Choice {
    Policy.Choice(
      index: loads.leastLoaded(of: request.candidates, target: request.target), reason: .leastLoaded, mapping: nil)
  }
}
