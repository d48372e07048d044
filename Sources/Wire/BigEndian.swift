// SPDX-License-Identifier: Apache-2.0

/// Big-endian loads; out-of-range offsets trap, so callers check lengths once before they read fields.
extension Span where Element == UInt8 {
  @inlinable
  public func readUInt16(at offset: Int) -> UInt16 {
    UInt16(self[offset]) << 8 | UInt16(self[offset + 1])
  }

  @inlinable
  public func readUInt32(at offset: Int) -> UInt32 {
    UInt32(readUInt16(at: offset)) << 16 | UInt32(readUInt16(at: offset + 2))
  }

  @inlinable
  public func readUInt64(at offset: Int) -> UInt64 {
    UInt64(readUInt32(at: offset)) << 32 | UInt64(readUInt32(at: offset + 4))
  }
}

/// Big-endian stores.
extension MutableSpan where Element == UInt8 {
  @inlinable
  public mutating func write(_ value: UInt16, at offset: Int) {
    self[offset] = UInt8(truncatingIfNeeded: value >> 8)
    self[offset + 1] = UInt8(truncatingIfNeeded: value)
  }

  @inlinable
  public mutating func write(_ value: UInt32, at offset: Int) {
    write(UInt16(truncatingIfNeeded: value >> 16), at: offset)
    write(UInt16(truncatingIfNeeded: value), at: offset + 2)
  }

  @inlinable
  public mutating func write(_ value: UInt64, at offset: Int) {
    write(UInt32(truncatingIfNeeded: value >> 32), at: offset)
    write(UInt32(truncatingIfNeeded: value), at: offset + 4)
  }
}
