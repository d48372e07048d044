// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import Testing

@Suite struct RelayStateTests {
  struct Step: Sendable {
    var event: RelayState.Event
    var action: RelayState.Action
  }

  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var steps: [Step]

    init(_ name: String, _ steps: [(RelayState.Event, RelayState.Action)]) {
      testDescription = name
      self.steps = steps.map { Step(event: $0.0, action: $0.1) }
    }
  }

  static let cases = [
    Case(
      "bytes that the sink takes are followed by more",
      [(.moved(from: .server, count: 10, written: 10), .read(.server))]),
    Case(
      "bytes that the sink does not take are held, and go first",
      [
        (.moved(from: .server, count: 10, written: 4), .hold(.server)),
        (.flushed(from: .server, written: 5), .hold(.server)), (.flushed(from: .server, written: 1), .read(.server)),
      ]),
    Case(
      "the client ends first",
      [(.endOfStream(.client), .shutdown(.server)), (.endOfStream(.server), .close(.clientClosedFirst))]),
    Case(
      "the server ends first",
      [(.endOfStream(.server), .shutdown(.client)), (.endOfStream(.client), .close(.serverClosedFirst))]),
    Case(
      "the other direction goes on after one end",
      [
        (.endOfStream(.client), .shutdown(.server)), (.moved(from: .server, count: 9, written: 0), .hold(.server)),
        (.flushed(from: .server, written: 9), .read(.server)), (.endOfStream(.server), .close(.clientClosedFirst)),
      ]),
    Case(
      "an end waits for what is held",
      [
        (.moved(from: .server, count: 9, written: 1), .hold(.server)), (.endOfStream(.server), .hold(.server)),
        (.flushed(from: .server, written: 4), .hold(.server)),
        (.flushed(from: .server, written: 4), .shutdown(.client)),
      ]),
    Case("a client's reset", [(.failed(.client), .reset(.clientReset))]),
    Case(
      "a server's reset after its end",
      [(.endOfStream(.server), .shutdown(.client)), (.failed(.server), .reset(.serverReset))]),
  ]

  @Test(arguments: cases) func actionsFollowEvents(_ test: Case) {
    var state = RelayState()
    for (index, step) in test.steps.enumerated() {
      #expect(state.handle(step.event) == step.action, "step \(index)")
    }
  }

  /// Whatever happens in whatever order: bytes arrive in order and whole, and an end is passed on once, after all of them.
  @Test(arguments: 1...200) func randomRelaysLoseNothing(_ seed: Int) {
    var random = Generator(seed: UInt64(seed))
    var state = RelayState()
    var toSend = [
      Side.client: Int.random(in: 0...5000, using: &random), .server: Int.random(in: 0...5000, using: &random),
    ]
    let all = toSend
    var taken = [Side.client: 0, .server: 0]
    var shutdowns: [Side] = []
    for _ in 0..<100_000 {
      let side = Bool.random(using: &random) ? Side.client : .server
      let action: RelayState.Action
      if state.held(side) > 0 {
        let written = Int.random(in: 0...state.held(side), using: &random)
        taken[side]! += written
        action = state.handle(.flushed(from: side, written: written))
      } else if state.mayRead(side), toSend[side]! > 0 {
        let count = Int.random(in: 1...min(700, toSend[side]!), using: &random)
        let written = Int.random(in: 0...count, using: &random)
        toSend[side]! -= count
        taken[side]! += written
        action = state.handle(.moved(from: side, count: count, written: written))
      } else if state.mayRead(side) {
        action = state.handle(.endOfStream(side))
      } else {
        continue
      }
      switch action {
      case .shutdown(let other):
        shutdowns.append(other)
        #expect(taken[other.other] == all[other.other], "seed \(seed): FIN before the last byte")
      case .close(let end):
        #expect(taken == all, "seed \(seed)")
        #expect(shutdowns.count == 1, "seed \(seed)")
        #expect((end == .clientClosedFirst) == (shutdowns == [.server]), "seed \(seed)")
        return
      case .reset: Issue.record("seed \(seed): a reset without failure")
      case .read, .hold: break
      }
    }
    Issue.record("seed \(seed): the relay did not end")
  }
}

@Suite struct HoldPolicyTests {
  /// The bound that the type states, with every connection as slow as can be.
  @Test func heldBytesStayBelowTheBound() {
    let policy = HoldPolicy(budget: 1 << 20, largest: 256 << 10, smallest: 4 << 10)
    var held = 0
    for _ in 0..<2000 { held += policy.readLimit(held: held) }
    #expect(held <= policy.bound(connections: 1000))
    #expect(policy.readLimit(held: 0) == 64 << 10)
    #expect(policy.readLimit(held: 1 << 30) == 4 << 10)
  }
}

/// SplitMix64.
struct Generator: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }
}
