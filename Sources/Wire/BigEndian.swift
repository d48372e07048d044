// SPDX-License-Identifier: Apache-2.0

/// Big-endian loads; out-of-range offsets trap, so callers check lengths once before they read fields.
///
/// Each takes a part of its full width first: that is the one bounds check, and the compiler makes one load of the rest.
extension Span where Element == UInt8 {
  @inlinable @inline(__always)
  public func readUInt16(at offset: Int) -> UInt16 {
    let bytes = extracting(offset..<offset &+ 2)
    return UInt16(bytes[0]) << 8 | UInt16(bytes[1])
  }

  @inlinable @inline(__always)
  public func readUInt32(at offset: Int) -> UInt32 {
    let bytes = extracting(offset..<offset &+ 4)
    return UInt32(bytes[0]) << 24 | UInt32(bytes[1]) << 16 | UInt32(bytes[2]) << 8 | UInt32(bytes[3])
  }

  @inlinable @inline(__always)
  public func readUInt64(at offset: Int) -> UInt64 {
    let bytes = extracting(offset..<offset &+ 8)
    let high = UInt64(bytes[0]) << 56 | UInt64(bytes[1]) << 48 | UInt64(bytes[2]) << 40 | UInt64(bytes[3]) << 32
    return high | UInt64(bytes[4]) << 24 | UInt64(bytes[5]) << 16 | UInt64(bytes[6]) << 8 | UInt64(bytes[7])
  }
}

/// Big-endian stores. (`_mutatingExtracting` is what Swift 6.3 calls `extracting` of a mutable span since it deprecated that name.)
extension MutableSpan where Element == UInt8 {
  @inlinable @inline(__always)
  public mutating func write(_ value: UInt16, at offset: Int) {
    var bytes = _mutatingExtracting(offset..<offset &+ 2)
    bytes[0] = UInt8(truncatingIfNeeded: value >> 8)
    bytes[1] = UInt8(truncatingIfNeeded: value)
  }

  @inlinable @inline(__always)
  public mutating func write(_ value: UInt32, at offset: Int) {
    var bytes = _mutatingExtracting(offset..<offset &+ 4)
    bytes[0] = UInt8(truncatingIfNeeded: value >> 24)
    bytes[1] = UInt8(truncatingIfNeeded: value >> 16)
    bytes[2] = UInt8(truncatingIfNeeded: value >> 8)
    bytes[3] = UInt8(truncatingIfNeeded: value)
  }

  @inlinable @inline(__always)
  public mutating func write(_ value: UInt64, at offset: Int) {
    write(UInt32(truncatingIfNeeded: value >> 32), at: offset)
    write(UInt32(truncatingIfNeeded: value), at: offset &+ 4)
  }

  /// Copies all of `source` to `offset`.
  @inlinable @inline(__always)
  public mutating func write(_ source: Span<UInt8>, at offset: Int) {
    var bytes = _mutatingExtracting(offset..<offset &+ source.count)
    for index in 0..<source.count { bytes[index] = source[index] }
  }
}
