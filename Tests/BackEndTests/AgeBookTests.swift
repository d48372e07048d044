// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import Testing

@Suite struct AgeBookTests {
  @Test func agesCountFromTheFirstLook() {
    var book = AgeBook<String>()
    func look(_ present: [String], at now: UInt64) -> [String: UInt64] {
      Dictionary(uniqueKeysWithValues: book.look(present, now: now).map { ($0.element, $0.age) })
    }
    #expect(look([], at: 5) == [:])
    #expect(look(["a"], at: 10) == ["a": 0])
    #expect(look(["a", "b", "b"], at: 14) == ["a": 4, "b": 0])
    // What was away begins anew.
    #expect(look(["b"], at: 15) == ["b": 1])
    #expect(look(["a", "b"], at: 20) == ["a": 0, "b": 6])
    #expect(look([], at: 21) == [:])
    #expect(look(["b"], at: 22) == ["b": 0])
  }
}
