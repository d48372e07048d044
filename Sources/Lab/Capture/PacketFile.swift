// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
public import Wire

/// One TCP segment of a capture.
public struct CapturedSegment: Sendable, Hashable {
  /// Nanoseconds since 1970.
  public var time: UInt64
  public var segment: TCPSegment
  /// Payload bytes as the IP header tells, however much was kept.
  public var payload: Int

  public init(time: UInt64, segment: TCPSegment, payload: Int) {
    self.time = time
    self.segment = segment
    self.payload = payload
  }
}

/// Reads the classic pcap format with Ethernet frames, both byte orders, micro- and nanoseconds.
public enum PacketFile {
  /// All TCP segments of a file in the order of capture; other frames are skipped.
  public static func read(_ path: String) throws(LabError) -> [CapturedSegment] {
    let bytes: [UInt8]
    do {
      bytes = try FileAccess.read(path)
    } catch {
      throw LabError("cannot read the capture: \(error)")
    }
    return try parse(bytes, name: path)
  }

  /// - Parameter name: what the bytes are called in errors.
  public static func parse(_ bytes: [UInt8], name: String) throws(LabError) -> [CapturedSegment] {
    guard bytes.count >= 24 else { throw LabError("\(name) is too short for a capture") }
    let reader: Reader
    switch Reader(bytes: bytes, isBigEndian: true).word(0) {
    case 0xa1b2_c3d4: reader = Reader(bytes: bytes, isBigEndian: true, scale: 1000)
    case 0xa1b2_3c4d: reader = Reader(bytes: bytes, isBigEndian: true, scale: 1)
    case 0xd4c3_b2a1: reader = Reader(bytes: bytes, isBigEndian: false, scale: 1000)
    case 0x4d3c_b2a1: reader = Reader(bytes: bytes, isBigEndian: false, scale: 1)
    default: throw LabError("\(name) is no classic pcap file")
    }
    guard reader.word(20) & 0xffff == 1 else {
      throw LabError("\(name) holds frames of link type \(reader.word(20)), only Ethernet (1) is read")
    }
    var segments: [CapturedSegment] = []
    var offset = 24
    while offset < bytes.count {
      guard offset + 16 <= bytes.count else { throw LabError("\(name) ends within a record header") }
      let kept = Int(reader.word(offset + 8))
      let start = offset + 16
      guard start + kept <= bytes.count else { throw LabError("\(name) ends within a record") }
      let time = UInt64(reader.word(offset)) * 1_000_000_000 + UInt64(reader.word(offset + 4)) * reader.scale
      if let segment = segment(Array(bytes[start..<start + kept]), length: Int(reader.word(offset + 12)), time: time) {
        segments.append(segment)
      }
      offset = start + kept
    }
    return segments
  }

  private struct Reader {
    let bytes: [UInt8]
    let isBigEndian: Bool
    /// Nanoseconds in one unit of the fraction.
    var scale: UInt64 = 1

    func word(_ offset: Int) -> UInt32 {
      let value = bytes[offset..<offset + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      return isBigEndian ? value : value.byteSwapped
    }
  }

  private static func segment(_ frame: [UInt8], length: Int, time: UInt64) -> CapturedSegment? {
    guard frame.count >= 14 + 20, length < 1 << 20 else { return nil }
    // The bytes that were not kept are payload; the parser wants them to be there.
    let whole = frame + [UInt8](repeating: 0, count: max(0, length - frame.count))
    guard let parsed = try? TCPSegment.parse(whole.span.extracting(14..<whole.count), verifyingChecksums: false)
    else { return nil }
    return CapturedSegment(time: time, segment: parsed.segment, payload: parsed.payload.count)
  }
}
