// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import Testing
import Wire

@testable import Distributor

@Suite struct DecisionQueueTests {
  func request(_ id: UInt64) -> DecisionRequest { DecisionRequest(id: id, target: id) }

  @Test func aFurtherBatchWaitsForAnAnswer() {
    var queue = DecisionQueue()
    #expect(queue.nextBatch() == nil)
    queue.add(request(1))
    #expect(queue.nextBatch()?.map(\.id) == [1])
    queue.add(request(2))
    queue.add(request(3))
    #expect(queue.nextBatch() == nil)
    queue.answered([Decision(id: 1, outcome: .noBackEnd)])
    #expect(queue.nextBatch()?.map(\.id) == [2, 3])
    #expect(queue.nextBatch() == nil)
  }

  @Test func anAnswerWithoutDecisionsEndsTheWaitToo() {
    var queue = DecisionQueue()
    queue.add(request(1))
    _ = queue.nextBatch()
    queue.add(request(2))
    queue.answered([])
    #expect(queue.nextBatch()?.map(\.id) == [2])
    #expect(Set(queue.asked.keys) == [1, 2])
  }

  @Test func whatIsUndecidedIsGivenBackOnce() {
    var queue = DecisionQueue()
    queue.add(request(1))
    queue.add(request(2))
    _ = queue.nextBatch()
    queue.answered([Decision(id: 2, outcome: .noBackEnd)])
    queue.add(request(3))
    _ = queue.nextBatch()
    queue.add(request(4))
    #expect(Set(queue.takeAll().map(\.id)) == [1, 3, 4])
    #expect(queue.takeAll().isEmpty)
    queue.add(request(5))
    #expect(queue.nextBatch()?.map(\.id) == [5])
  }
}
