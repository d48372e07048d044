// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import Rules
import Testing
import Wire

@testable import DistributorCore

@Suite struct BackEndNumbersTests {
  func view(_ nodes: [(String, UInt16)]) -> ClusterView {
    ClusterView(
      epoch: 1,
      backEnds: nodes.map { name, id in
        BackEndDescription(
          id: BackEndID(id), name: name, state: .up, instance: 1,
          registration: BackEndRegistration(
            address: IPAddress(ipv4: 0x0a4d_0001), mac: MACAddress(bits: 1), handoffPort: 7001,
            serverPort: 8080, weight: 100, maximumConnections: 1000))
      }, services: [])
  }

  struct Case: CustomTestStringConvertible {
    var testDescription: String
    /// Views one after the other: the dispatcher's numbers, and this distributor's.
    var views: [[(name: String, id: UInt16, number: UInt16?)]]
  }

  static let cases = [
    Case(
      testDescription: "the dispatcher's numbers at first",
      views: [[("a", 0, 0), ("b", 1, 1)], [("a", 0, 0), ("b", 1, 1), ("c", 2, 2)]]),
    Case(
      testDescription: "a successor numbers otherwise",
      views: [[("a", 0, 0), ("b", 1, 1)], [("b", 0, 1)], [("b", 0, 1), ("a", 1, 0)]]),
    Case(
      testDescription: "a successor meets a new node first",
      views: [[("a", 0, 0), ("b", 1, 1)], [("c", 0, 2)], [("c", 0, 2), ("b", 1, 1), ("a", 2, 0)]]),
    Case(testDescription: "a number that is free further up", views: [[("a", 5, 5)], [("b", 5, 0), ("a", 6, 5)]]),
    Case(testDescription: "a number beyond all", views: [[("a", 64, 0), ("b", 65535, 1)]]),
    Case(
      testDescription: "all numbers are given, and one left",
      views: [
        (0..<64).map { ("n\($0)", $0, $0) },
        (0..<64).filter { $0 != 7 }.map { ("n\($0)", $0, $0) } + [("new", 7, 7)],
        // Back again, where another one left.
        (0..<64).filter { $0 != 7 && $0 != 9 }.map { ("n\($0)", $0, $0) } + [("new", 7, 7), ("n7", 9, 9)],
      ]),
    Case(
      testDescription: "more nodes than numbers",
      views: [(0..<65).map { ("n\($0)", $0, $0 < 64 ? $0 : nil) }]),
  ]

  @Test(arguments: cases) func numbersStayWithNames(_ each: Case) {
    var numbers = BackEndNumbers()
    for expected in each.views {
      let given = numbers.assign(view(expected.map { ($0.name, $0.id) }).backEnds)
      #expect(given == expected.map(\.number))
    }
  }

  @Test func whatIsSaidIsInTheNumbersOfEach() {
    var numbers = BackEndNumbers()
    _ = numbers.assign(view([("a", 0), ("b", 1)]).backEnds)
    var translation = BackEndTranslation()
    let successor = view([("b", 0), ("c", 1), ("d", 64)])
    let translated = translation.learn(successor, numbers.assign(successor.backEnds))
    // The last has no place in the dispatcher's own numbers.
    #expect(translated.backEnds.map(\.name) == ["b", "c"])
    #expect(translated.backEnds.map(\.id.rawValue) == [1, 2])
    #expect(translation.number(of: BackEndID(0)) == 1)
    #expect(translation.number(of: BackEndID(2)) == nil)
    #expect(translation.number(of: BackEndID(65535)) == nil)
    #expect(translation.id(of: 2) == BackEndID(1))
    // Known here, and not at the dispatcher.
    #expect(translation.id(of: 0) == nil)
    #expect(translation.id(of: 65535) == nil)

    let request = DecisionRequest(id: 5, target: 6, excluded: BackEndID(1))
    #expect(translation.outgoing(request) == DecisionRequest(id: 5, target: 6, excluded: BackEndID(0)))
    let unknown = DecisionRequest(id: 5, target: 6, excluded: BackEndID(0))
    #expect(translation.outgoing(unknown).excluded == nil)
    let account = LeaseAccount(target: 1, pool: .every, backEnd: BackEndID(2), term: 3, used: 4, returned: 5)
    #expect(translation.outgoing(account)?.backEnd == BackEndID(1))
    let lost = LeaseAccount(target: 1, pool: .every, backEnd: BackEndID(0), term: 3, used: 4, returned: 5)
    #expect(translation.outgoing(lost) == nil)
  }

  @Test func numbersAreUniqueAndStayInAllViews() {
    var random = SplitMix(seed: 64)
    var numbers = BackEndNumbers()
    var last: [String: UInt16] = [:]
    for _ in 0..<2_000 {
      let names = (0..<80).shuffled(using: &random).prefix(Int.random(in: 0...64, using: &random)).map { "n\($0)" }
      let given = numbers.assign(view(names.enumerated().map { ($1, UInt16($0)) }).backEnds)
      #expect(given.allSatisfy { $0 != nil })
      #expect(Set(given).count == names.count)
      let now = Dictionary(uniqueKeysWithValues: zip(names, given.map { $0! }))
      for (name, number) in now where last[name] != nil { #expect(last[name] == number) }
      last = now
    }
  }
}
