// SPDX-License-Identifier: Apache-2.0

public import ControlProtocol

/// A set of back-ends as 64 bits: the replica set of a target, the candidates of a decision.
public struct BackEndSet: Hashable, Sendable, BitwiseCopyable {
  /// The most back-ends that one dispatcher manages. One bit each keeps a replica set in eight bytes.
  public static let capacity = 64

  public var bits: UInt64

  @inlinable
  public init(bits: UInt64 = 0) { self.bits = bits }

  @inlinable
  public init(_ id: BackEndID) { bits = 1 &<< UInt64(id.rawValue & 63) }

  @inlinable
  public static func index(_ index: Int) -> BackEndSet { BackEndSet(bits: 1 &<< UInt64(index & 63)) }

  @inlinable
  public var isEmpty: Bool { bits == 0 }
  @inlinable
  public var count: Int { bits.nonzeroBitCount }
  /// The lowest member of a set that is not empty.
  @inlinable
  public var first: Int { bits.trailingZeroBitCount }

  @inlinable
  public func contains(_ index: Int) -> Bool { bits &>> UInt64(index & 63) & 1 != 0 }

  @inlinable
  public mutating func insert(_ index: Int) { bits |= 1 &<< UInt64(index & 63) }
  @inlinable
  public mutating func remove(_ index: Int) { bits &= ~(1 &<< UInt64(index & 63)) }
  /// Takes the lowest member out of a set that is not empty.
  @inlinable
  public mutating func popFirst() -> Int {
    let index = first
    bits &= bits &- 1
    return index
  }

  @inlinable
  public func union(_ other: BackEndSet) -> BackEndSet { BackEndSet(bits: bits | other.bits) }
  @inlinable
  public func intersection(_ other: BackEndSet) -> BackEndSet { BackEndSet(bits: bits & other.bits) }
  @inlinable
  public func subtracting(_ other: BackEndSet) -> BackEndSet { BackEndSet(bits: bits & ~other.bits) }

  /// Members in ascending order.
  public var members: [BackEndID] {
    var rest = self
    var members: [BackEndID] = []
    while !rest.isEmpty { members.append(BackEndID(UInt16(rest.popFirst()))) }
    return members
  }
}
