// SPDX-License-Identifier: Apache-2.0

/// What is announced to clients of either family as maximum segment size (RFC 9293 section 3.7.1), so that their packets fit
/// the way to any server node.
public struct SegmentSizes: Hashable, Sendable {
  public let ipv4: UInt16
  public let ipv6: UInt16

  /// Linux sends no shorter segments, whatever is announced (TCP_MIN_SND_MSS in include/net/tcp.h).
  private static let least = 48

  /// - Parameter longestPacket: bytes of an IP packet without options.
  public init(longestPacket: Int) {
    ipv4 = UInt16(clamping: max(longestPacket - 40, SegmentSizes.least))
    ipv6 = UInt16(clamping: max(longestPacket - 60, SegmentSizes.least))
  }
}
