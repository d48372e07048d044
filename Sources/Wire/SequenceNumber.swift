// SPDX-License-Identifier: Apache-2.0

/// A TCP sequence number: 32 bits that wrap. Order is by signed distance (RFC 9293 section 3.4), so two numbers cannot be
/// added and `<` is only meaningful within 2^31 of each other.
public struct SequenceNumber: Hashable, Sendable, BitwiseCopyable {
  public var rawValue: UInt32

  @inlinable
  public init(_ rawValue: UInt32) { self.rawValue = rawValue }

  @inlinable
  public func advanced(by count: Int) -> SequenceNumber {
    SequenceNumber(rawValue &+ UInt32(truncatingIfNeeded: count))
  }

  /// Bytes from `self` to `other`; negative when `other` is earlier.
  @inlinable
  public func distance(to other: SequenceNumber) -> Int {
    Int(Int32(truncatingIfNeeded: other.rawValue &- rawValue))
  }

  @inlinable
  public static func < (left: SequenceNumber, right: SequenceNumber) -> Bool { left.distance(to: right) > 0 }
  @inlinable
  public static func <= (left: SequenceNumber, right: SequenceNumber) -> Bool { left.distance(to: right) >= 0 }
  @inlinable
  public static func > (left: SequenceNumber, right: SequenceNumber) -> Bool { left.distance(to: right) < 0 }
  @inlinable
  public static func >= (left: SequenceNumber, right: SequenceNumber) -> Bool { left.distance(to: right) <= 0 }
}

extension SequenceNumber: CustomStringConvertible {
  public var description: String { String(rawValue) }
}
