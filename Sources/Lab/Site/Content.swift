// SPDX-License-Identifier: Apache-2.0

/// Bytes that can be computed at every offset, so that whoever receives them can check each one without a stored copy.
///
/// Byte i is byte i mod 8 (little-endian) of the SplitMix64 output number i / 8 of the key.
public struct Content: Hashable, Sendable {
  private let key: UInt64

  /// - Parameter name: different names have different contents.
  public init(seed: UInt64, name: String) {
    // FNV-1a, only to spread names over keys.
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    key = SeededRandom.mix(seed ^ hash)
  }

  private func word(_ index: Int) -> UInt64 {
    SeededRandom.mix(key &+ UInt64(index) &* SeededRandom.increment)
  }

  /// The bytes from `offset` on.
  public func bytes(from offset: Int, count: Int) -> [UInt8] {
    let first = offset / 8
    let skipped = offset % 8
    let words = (skipped + count + 7) / 8
    var bytes = [UInt8](repeating: 0, count: words * 8)
    var span = bytes.mutableSpan
    for index in 0..<words {
      var value = word(first + index)
      for position in index * 8..<index * 8 + 8 {
        span[position] = UInt8(truncatingIfNeeded: value)
        value >>= 8
      }
    }
    return skipped == 0 && bytes.count == count ? bytes : Array(bytes[skipped..<skipped + count])
  }

  /// The offset in the content of the first received byte that is wrong, nil when all are right.
  ///
  /// - Parameter offset: where in the content `received` begins.
  public func firstDifference(_ received: Span<UInt8>, at offset: Int) -> Int? {
    var index = 0
    var position = offset
    while index < received.count {
      var value = word(position / 8) >> UInt64(8 * (position % 8))
      let end = min(received.count, index + 8 - position % 8)
      while index < end {
        if received[index] != UInt8(truncatingIfNeeded: value) { return position }
        value >>= 8
        index += 1
        position += 1
      }
    }
    return nil
  }
}
