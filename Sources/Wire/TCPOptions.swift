// SPDX-License-Identifier: Apache-2.0

/// The TCP timestamps option (RFC 7323 section 3): host-order values.
public struct TCPTimestamps: Hashable, Sendable, BitwiseCopyable {
  /// TSval, the sender's clock.
  public var value: UInt32
  /// TSecr, the last TSval that the sender got.
  public var echo: UInt32

  @inlinable
  public init(value: UInt32, echo: UInt32) {
    self.value = value
    self.echo = echo
  }
}

/// The TCP options that this cluster understands. Unknown options are skipped when parsing (RFC 9293 section 3.1).
public struct TCPOptions: Hashable, Sendable, BitwiseCopyable {
  /// MSS in bytes (RFC 9293 section 3.7.1), nil when the option was absent.
  public var maximumSegmentSize: UInt16?
  /// Window scale shift (RFC 7323 section 2), clamped to 14 by `parse` as the RFC demands; nil when absent.
  public var windowScale: UInt8?
  /// SACK permitted (RFC 2018 section 2).
  public var sackPermitted: Bool
  public var timestamps: TCPTimestamps?

  @inlinable
  public init(
    maximumSegmentSize: UInt16? = nil, windowScale: UInt8? = nil, sackPermitted: Bool = false,
    timestamps: TCPTimestamps? = nil
  ) {
    self.maximumSegmentSize = maximumSegmentSize
    self.windowScale = windowScale
    self.sackPermitted = sackPermitted
    self.timestamps = timestamps
  }

  /// Bytes that `emit` writes: a multiple of 4, at most 20.
  @inlinable
  public var encodedLength: Int {
    var length = 0
    if maximumSegmentSize != nil { length += 4 }
    if windowScale != nil { length += 4 }
    if timestamps != nil { length += 12 } else if sackPermitted { length += 4 }
    return length
  }

  /// Parses the option bytes of a TCP header.
  ///
  /// - Throws: `WireError.badTCPOptions` when a length runs past the end or does not fit its option.
  @inlinable
  public static func parse(_ bytes: Span<UInt8>) throws(WireError) -> TCPOptions {
    var options = TCPOptions()
    var offset = 0
    while offset < bytes.count {
      let kind = bytes[offset]
      if kind == 0 { break }
      if kind == 1 {
        offset += 1
        continue
      }
      guard offset + 1 < bytes.count else { throw .badTCPOptions }
      let length = Int(bytes[offset + 1])
      guard length >= 2, offset + length <= bytes.count else { throw .badTCPOptions }
      switch (kind, length) {
      case (2, 4): options.maximumSegmentSize = bytes.readUInt16(at: offset + 2)
      case (3, 3): options.windowScale = min(bytes[offset + 2], 14)
      case (4, 2): options.sackPermitted = true
      case (8, 10):
        options.timestamps = TCPTimestamps(
          value: bytes.readUInt32(at: offset + 2), echo: bytes.readUInt32(at: offset + 6))
      case (2, _), (3, _), (4, _), (8, _): throw .badTCPOptions
      default: break
      }
      offset += length
    }
    return options
  }

  /// Writes `encodedLength` bytes at `offset`, in the layout that Linux uses (`tcp_options_write`), so that receivers'
  /// fast paths for aligned timestamps match.
  @inlinable
  func emit(into bytes: inout MutableSpan<UInt8>, at start: Int) {
    var offset = start
    if let maximumSegmentSize {
      bytes.write(UInt32(0x0204_0000) | UInt32(maximumSegmentSize), at: offset)
      offset += 4
    }
    if let timestamps {
      bytes.write(sackPermitted ? UInt32(0x0402_080a) : UInt32(0x0101_080a), at: offset)
      bytes.write(timestamps.value, at: offset + 4)
      bytes.write(timestamps.echo, at: offset + 8)
      offset += 12
    } else if sackPermitted {
      bytes.write(UInt32(0x0101_0402), at: offset)
      offset += 4
    }
    if let windowScale {
      bytes.write(UInt32(0x0103_0300) | UInt32(windowScale), at: offset)
    }
  }
}

/// The control bits of a TCP header (RFC 9293 section 3.1, RFC 3168).
public struct TCPFlags: OptionSet, Hashable, Sendable, BitwiseCopyable {
  public let rawValue: UInt8
  @inlinable
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  public static var fin: TCPFlags { TCPFlags(rawValue: 0x01) }
  public static var syn: TCPFlags { TCPFlags(rawValue: 0x02) }
  public static var rst: TCPFlags { TCPFlags(rawValue: 0x04) }
  public static var psh: TCPFlags { TCPFlags(rawValue: 0x08) }
  public static var ack: TCPFlags { TCPFlags(rawValue: 0x10) }
  public static var urg: TCPFlags { TCPFlags(rawValue: 0x20) }
  public static var ece: TCPFlags { TCPFlags(rawValue: 0x40) }
  public static var cwr: TCPFlags { TCPFlags(rawValue: 0x80) }
}
