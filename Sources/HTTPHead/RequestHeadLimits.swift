// SPDX-License-Identifier: Apache-2.0

/// What a request head may measure; beyond it the request is refused with the error named at each limit.
public struct RequestHeadLimits: Hashable, Sendable, BitwiseCopyable {
  /// Bytes of the whole head, its last empty line included: `RequestHeadError.headTooLong`. Clamped to 1...16 MiB.
  public let maximumHeadLength: Int
  /// Bytes of the target: `RequestHeadError.targetTooLong`. RFC 9112 section 3 recommends 8000 for the request line.
  public let maximumTargetLength: Int
  /// Bytes of the method: `RequestHeadError.methodTooLong`. The longest registered one has 17 (UPDATEREDIRECTREF).
  public let maximumMethodLength: Int
  /// Field lines: `RequestHeadError.tooManyFields`.
  public let maximumFieldCount: Int
  /// Empty lines before the request line, of which RFC 9112 section 2.2 wants at least one taken:
  /// `RequestHeadError.tooManyEmptyLines`.
  public let maximumLeadingEmptyLines: Int

  public init(
    maximumHeadLength: Int = 16384, maximumTargetLength: Int = 8192, maximumMethodLength: Int = 64,
    maximumFieldCount: Int = 128, maximumLeadingEmptyLines: Int = 2
  ) {
    // Offsets are kept in 32 bits.
    self.maximumHeadLength = min(max(maximumHeadLength, 1), 1 << 24)
    self.maximumTargetLength = maximumTargetLength
    self.maximumMethodLength = maximumMethodLength
    self.maximumFieldCount = maximumFieldCount
    self.maximumLeadingEmptyLines = maximumLeadingEmptyLines
  }
}
