// SPDX-License-Identifier: Apache-2.0

/// Load of a back-end per capacity, in 1/65536 of a connection on an average node (weight 100). Thresholds and
/// comparisons of all policies use it, so that unequal nodes fill evenly.
public struct RelativeLoad: Hashable, Sendable, BitwiseCopyable, Comparable {
  public var rawValue: UInt64

  @inlinable
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  @inlinable
  public init(connections: UInt32) { rawValue = UInt64(connections) << 16 }

  /// Loads above this many connections count as this many, which keeps the arithmetic within 64 bits.
  public static let maximumConnections: UInt32 = 1 << 24

  /// - Parameters:
  ///   - connections: whole connections.
  ///   - charge: fractions of a connection in 1/65536 (the 1/N of pipelined batches).
  ///   - inverseWeight: `inverse(ofWeight:)` of the node.
  @inlinable
  init(connections: UInt32, charge: UInt32, inverseWeight: UInt64) {
    let units = UInt64(min(connections, RelativeLoad.maximumConnections)) << 16 &+ UInt64(charge)
    rawValue = (units &* inverseWeight) >> 16
  }

  /// 100 / weight with 16 fractional bits; a weight of 0 counts as 1.
  @inlinable
  static func inverse(ofWeight weight: UInt32) -> UInt64 { (100 << 16) / UInt64(max(1, weight)) }

  @inlinable
  public static func < (left: RelativeLoad, right: RelativeLoad) -> Bool { left.rawValue < right.rawValue }

  /// In connections of an average node.
  public var connections: Double { Double(rawValue) / 65_536 }
}
