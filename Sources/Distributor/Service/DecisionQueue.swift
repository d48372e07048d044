// SPDX-License-Identifier: Apache-2.0

import ControlProtocol

/// Decisions that are wanted: batched only while an earlier batch has no answer yet (USENIX 2000, section 5), so that a
/// single request is asked for at once and a busy dispatcher gets few large messages.
struct DecisionQueue {
  private(set) var waiting: [DecisionRequest] = []
  /// Sent and not answered, by id; kept so that they can be decided locally when the dispatcher is lost.
  private(set) var asked: [UInt64: DecisionRequest] = [:]
  private var batchUnanswered = false

  /// An answer is expected.
  var isWaiting: Bool { !asked.isEmpty }

  mutating func add(_ request: DecisionRequest) { waiting.append(request) }

  /// The batch to send now, nil when there is none or the last one is unanswered.
  mutating func nextBatch() -> [DecisionRequest]? {
    if batchUnanswered || waiting.isEmpty { return nil }
    let batch = waiting
    waiting.removeAll(keepingCapacity: true)
    for request in batch { asked[request.id] = request }
    batchUnanswered = true
    return batch
  }

  /// Any answer ends the wait: the dispatcher answers each batch with one message and what it queued later.
  mutating func answered(_ decisions: [Decision]) {
    batchUnanswered = false
    for decision in decisions { asked[decision.id] = nil }
  }

  /// Everything that has no decision yet; the queue is empty afterwards.
  mutating func takeAll() -> [DecisionRequest] {
    let all = Array(asked.values) + waiting
    waiting.removeAll(keepingCapacity: true)
    asked.removeAll(keepingCapacity: true)
    batchUnanswered = false
    return all
  }
}
