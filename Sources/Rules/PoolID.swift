// SPDX-License-Identifier: Apache-2.0

internal import Wire

/// A pool of back-ends by number. The number is a hash of the pool's name: every node computes it from the name alone, so
/// it means the same before and after a dispatcher restarts or its rules change.
public struct PoolID: Hashable, Sendable, BitwiseCopyable {
  public var rawValue: UInt32

  @inlinable
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Every back-end, whatever pools it is in.
  public static let every = PoolID(rawValue: 0)

  /// Two of 64 names share a number with a probability of 5 * 10^-7; who configures names checks that they do not.
  public init(_ name: String) {
    let hash = KeyedHash(0x6861_6e64_6f66_6620, 0x706f_6f6c_206e_616d).hash(Array(name.utf8).span)
    rawValue = max(1, UInt32(truncatingIfNeeded: hash))
  }

  /// Bytes of a pool's name.
  public static let maximumNameLength = 63

  /// 1 to 63 letters, digits, `-`, `_` and `.`.
  public static func isName(_ text: String) -> Bool {
    (1...maximumNameLength).contains(text.utf8.count)
      && text.utf8.allSatisfy { byte in
        (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
          || byte == 0x2d || byte == 0x5f || byte == 0x2e
      }
  }
}
