// SPDX-License-Identifier: Apache-2.0

/// A named way in which something ends; each has one counter.
public protocol Outcome: CaseIterable, RawRepresentable, Sendable where RawValue == Int {}

extension Outcome {
  /// The case as metrics write it: `dataOutOfOrder` is `data_out_of_order`.
  public var name: String {
    var name = ""
    for character in String(describing: self) {
      if character.isUppercase { name.append("_") }
      name.append(character.lowercased())
    }
    return name
  }
}

/// One counter per outcome.
public struct OutcomeCounts<Kind: Outcome>: Sendable {
  private var values: [UInt64]

  public init() { values = Array(repeating: 0, count: Kind.allCases.count) }

  public subscript(outcome: Kind) -> UInt64 { values[outcome.rawValue] }

  public var total: UInt64 { values.reduce(0, &+) }

  /// Every outcome with its name, also those that never happened.
  public var all: [(name: String, value: UInt64)] { Kind.allCases.map { ($0.name, self[$0]) } }

  mutating func count(_ outcome: Kind) { values[outcome.rawValue] &+= 1 }
}
