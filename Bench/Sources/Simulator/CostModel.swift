// SPDX-License-Identifier: Apache-2.0

/// What serving costs at a node, in nanoseconds: the model of the ASPLOS 1998 paper (300 MHz Pentium II, one disk).
public struct CostModel: Sendable {
  /// Opening and closing a connection, each.
  public var connection: UInt64 = 145_000
  /// Sending 512 bytes.
  public var transmitUnit: UInt64 = 40_000
  /// Seeks and rotation before the first byte.
  public var diskInitial: UInt64 = 28_000_000
  /// Seek and rotation before each further 44 KB.
  public var diskFurther: UInt64 = 14_000_000
  /// Reading 4 KB.
  public var diskUnit: UInt64 = 410_000
  /// Divides CPU costs: how much faster than the paper's processor.
  public var processorSpeed: UInt64 = 1
  public var disks = 1

  /// Files are read and sent in pieces of this many bytes, so that others come between.
  public static let piece = 44 * 1024

  public init() {}

  func open() -> UInt64 { connection / processorSpeed }

  /// CPU time to send a piece, and to close the connection after the last one.
  func send(_ bytes: Int, isLast: Bool) -> UInt64 {
    let units = UInt64((bytes + 511) / 512)
    return (units * transmitUnit + (isLast ? connection : 0)) / processorSpeed
  }

  func read(_ bytes: Int, isFirst: Bool) -> UInt64 {
    (isFirst ? diskInitial : diskFurther) + UInt64((bytes + 4095) / 4096) * diskUnit
  }
}
