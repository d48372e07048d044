// SPDX-License-Identifier: Apache-2.0

/// Since when things are there, as far as looks from time to time can tell.
public struct AgeBook<Element: Hashable & Sendable>: Sendable {
  private var since: [Element: UInt64] = [:]

  public init() {}

  /// - Parameter present: all that is there now; what is not is forgotten.
  /// - Returns: the age of each in nanoseconds, 0 for those that were not there at the last look.
  public mutating func look(_ present: [Element], now: UInt64) -> [(element: Element, age: UInt64)] {
    if since.isEmpty, present.isEmpty { return [] }
    let before = since
    since = Dictionary(present.map { ($0, before[$0] ?? now) }) { first, _ in first }
    return since.map { ($0.key, now - $0.value) }
  }
}
