// SPDX-License-Identifier: Apache-2.0

import DispatcherCore

extension DecisionReason {
  /// For people who ask why.
  var sentence: String {
    switch self {
    case .rotated: "it is the next node of the round"
    case .leastLoaded: "it is the least loaded node"
    case .hashed: "the target's hash names it"
    case .displaced: "the node that the target's hash names cannot take it or is above its bound; this is the next one"
    case .first: "the target is not known yet, and this is the least loaded node"
    case .mapped: "the target is mapped to it"
    case .moved: "the target's own node is overloaded or out of balance, and this is the least loaded one"
    case .replicated: "the target's nodes are overloaded or out of balance, and this is the least loaded one"
    case .orphaned: "none of the target's nodes is up, and this is the least loaded one"
    case .avoided: "the target's nodes are full, and this is the least loaded one"
    case .local: "it has the connection"
    case .forwarded: "it caches the target, and fetching it from there is cheapest"
    case .sticky: "the client or session sticks to it"
    }
  }
}
