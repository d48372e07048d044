// SPDX-License-Identifier: Apache-2.0

/// Durations in nanoseconds with a relative error below 0.8 %, as HdrHistogram keeps them: 128 equal steps for each power
/// of two. Adding is an increment in an array; histograms of several threads and processes can be added up.
public struct Histogram: Sendable, Hashable {
  private static let stepBits = 7
  /// Up to 2^42 ns (73 minutes); what is longer counts as that.
  private static let largest: UInt64 = (1 << 42) - 1
  private static let size = index(of: largest) + 1

  private var counts = [UInt32](repeating: 0, count: Histogram.size)
  public private(set) var count: UInt64 = 0
  public private(set) var maximum: UInt64 = 0
  private var sum: UInt64 = 0

  public init() {}

  public mutating func add(_ nanoseconds: UInt64) {
    let value = min(nanoseconds, Histogram.largest)
    counts[Histogram.index(of: value)] &+= 1
    count &+= 1
    sum &+= value
    if value > maximum { maximum = value }
  }

  /// Nanoseconds; 0 when nothing was added.
  public var mean: Double { count == 0 ? 0 : Double(sum) / Double(count) }

  /// The duration that this share of all does not exceed, in nanoseconds (upper end of its step); 0 when nothing was
  /// added.
  public func quantile(_ share: Double) -> UInt64 {
    guard count > 0 else { return 0 }
    let rank = max(1, UInt64((share * Double(count)).rounded(.up)))
    var seen: UInt64 = 0
    for (index, step) in counts.enumerated() where step > 0 {
      seen += UInt64(step)
      if seen >= rank { return min(Histogram.upperEnd(of: index), maximum) }
    }
    return maximum
  }

  public mutating func merge(_ other: Histogram) {
    for index in counts.indices { counts[index] &+= other.counts[index] }
    count += other.count
    sum &+= other.sum
    maximum = max(maximum, other.maximum)
  }

  private static func index(of value: UInt64) -> Int {
    if value < 1 << stepBits { return Int(value) }
    let exponent = 63 - value.leadingZeroBitCount - stepBits
    return exponent << stepBits + Int(value >> UInt64(exponent))
  }

  private static func upperEnd(of index: Int) -> UInt64 {
    let exponent = max(0, index >> stepBits - 1)
    if exponent == 0 { return UInt64(index) }
    return (UInt64(index - exponent << stepBits) + 1) << UInt64(exponent) - 1
  }
}

/// Only steps that hold something are written: `[[index, count], ...]`.
extension Histogram: Codable {
  private enum Key: String, CodingKey {
    case steps
    case sum
    case maximum
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    for step in try container.decode([[UInt32]].self, forKey: .steps) {
      guard step.count == 2, step[0] < UInt32(Histogram.size) else {
        throw DecodingError.dataCorruptedError(forKey: .steps, in: container, debugDescription: "no step: \(step)")
      }
      counts[Int(step[0])] = step[1]
      count += UInt64(step[1])
    }
    sum = try container.decode(UInt64.self, forKey: .sum)
    maximum = try container.decode(UInt64.self, forKey: .maximum)
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    let steps = counts.enumerated().filter { $0.element > 0 }.map { [UInt32($0.offset), $0.element] }
    try container.encode(steps, forKey: .steps)
    try container.encode(sum, forKey: .sum)
    try container.encode(maximum, forKey: .maximum)
  }
}
