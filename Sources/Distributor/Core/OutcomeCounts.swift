// SPDX-License-Identifier: Apache-2.0

/// A named way in which something ends; each has one counter.
public protocol Outcome: CaseIterable, RawRepresentable, Sendable where RawValue == Int {}

extension Outcome {
  /// The case as metrics write it: `dataOutOfOrder` is `data_out_of_order`, `badTCPChecksum` is `bad_tcp_checksum`.
  public var name: String {
    let letters = Array(String(describing: self))
    var name = ""
    for (index, letter) in letters.enumerated() {
      let startsWord =
        letter.isUppercase && index > 0
        && (!letters[index - 1].isUppercase || (index + 1 < letters.count && letters[index + 1].isLowercase))
      if startsWord { name.append("_") }
      name.append(letter.lowercased())
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
