// SPDX-License-Identifier: Apache-2.0

internal import HTTPHead
public import Rules
internal import Wire

extension Responder {
  /// Applies these rules to every request head that is complete from now on.
  public mutating func setRules(_ set: RuleSet) { rules = RuleTable(set) }

  /// Which back-ends may serve a complete request head, and what it sticks by.
  func judge(_ head: RequestHead, _ slot: Int) -> Route {
    if rules.isEmpty { return Route() }
    let memory = buffers.bytes(table.slots[slot].buffer)
    let facts = RequestFacts(head, in: memory.span, client: table.slots[slot].flow.client.address)
    return rules.judge(facts, in: memory.span).route
  }
}
