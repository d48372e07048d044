// SPDX-License-Identifier: Apache-2.0

/// Smooth weighted round robin (nginx): each round every candidate gains its weight, the richest is chosen and pays the sum.
/// Nodes of weight 5, 1, 1 are chosen a a b a c a a instead of a a a a a b c.
public struct WeightedRoundRobin: Sendable {
  private var credits = [Int64](repeating: 0, count: BackEndSet.capacity)

  public init() {}

  func choose(_ request: Policy.Request, _ loads: borrowing LoadBook) -> Policy.Choice {
    var rest = request.candidates
    var best = rest.first
    var bestCredit = Int64.min
    while !rest.isEmpty {
      let index = rest.popFirst()
      let credit = credits[index] + Int64(loads.weight(index))
      if credit > bestCredit {
        best = index
        bestCredit = credit
      }
    }
    return Policy.Choice(index: best, reason: .rotated, mapping: nil)
  }

  mutating func commit(_ choice: Policy.Choice, _ request: Policy.Request, _ loads: borrowing LoadBook) {
    var rest = request.candidates
    var sum: Int64 = 0
    while !rest.isEmpty {
      let index = rest.popFirst()
      let weight = Int64(loads.weight(index))
      credits[index] += weight
      sum += weight
    }
    credits[choice.index] -= sum
  }
}
