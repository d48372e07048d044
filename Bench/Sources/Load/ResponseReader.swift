// SPDX-License-Identifier: Apache-2.0

import Wire

/// What a response head says about the body that follows (RFC 9112 section 6.3).
public struct ResponseHead: Hashable, Sendable, BitwiseCopyable {
  /// Bytes of the head, its empty line included.
  public var length: Int
  public var status: Int
  /// Content-Length.
  public var bodyLength: Int
  /// The server ends the connection after this response.
  public var closes: Bool
}

/// Finds the end of a response head and the three things in it that a client needs.
public enum ResponseReader {
  public enum Failure: Error, Hashable, Sendable {
    /// No HTTP/1.x status line, or a field that cannot be read.
    case malformed
    /// A body that is not framed by Content-Length.
    case unframed
  }

  /// Nil when the head is not complete. Heads with a body framed in another way than by Content-Length are a failure:
  /// the sites that are measured have none.
  public static func head(_ bytes: Span<UInt8>) throws(Failure) -> ResponseHead? {
    // "HTTP/1.1 200": version, blank, three digits.
    guard bytes.count >= 13 else { return nil }
    guard bytes[0] == 0x48, bytes[5] == 0x31, bytes[8] == 0x20, let status = digits(bytes, 9, 12) else {
      throw .malformed
    }
    let isOldVersion = bytes[7] == 0x30
    var bodyLength: Int?
    var closes = isOldVersion
    var position = 12
    while true {
      // To the end of the present line.
      while position < bytes.count, bytes[position] != 0x0a { position += 1 }
      position += 1
      guard position + 1 < bytes.count else { return nil }
      switch bytes[position] | 0x20 {
      case 0x2d where bytes[position] == 0x0d:  // CR, with the bit that makes letters small
        guard bytes[position + 1] == 0x0a else { throw .malformed }
        let hasNoBody = status == 204 || status == 304
        guard let length = bodyLength ?? (hasNoBody ? 0 : nil) else { throw .unframed }
        return ResponseHead(
          length: position + 2, status: status, bodyLength: hasNoBody ? 0 : length, closes: closes)
      case 0x63:  // c
        if isField(bytes, position, 15, 0x636f_6e74_656e_742d, 0x2d6c_656e_6774_683a) {  // content-length:
          guard let length = number(bytes, position + 15) else { return nil }
          if length < 0 { throw .malformed }
          bodyLength = length
        } else if isField(bytes, position, 11, 0x636f_6e6e_6563_7469, 0x6e65_6374_696f_6e3a) {  // connection:
          // close, or keep-alive; nothing else is answered to a client that asks for nothing else.
          var value = position + 11
          while value < bytes.count, bytes[value] == 0x20 { value += 1 }
          guard value < bytes.count else { return nil }
          closes = bytes[value] | 0x20 == 0x63
        }
      case 0x74:  // t
        if isField(bytes, position, 18, 0x7472_616e_7366_6572, 0x6e63_6f64_696e_673a) {  // transfer-encoding:
          throw .unframed
        }
      default: continue
      }
    }
  }

  /// Whether a line begins with a field name of `count` bytes with its colon, told by its first and its last eight bytes
  /// in small letters.
  private static func isField(
    _ bytes: Span<UInt8>, _ position: Int, _ count: Int, _ first: UInt64, _ last: UInt64
  ) -> Bool {
    let small: UInt64 = 0x2020_2020_2020_2020
    return position + count <= bytes.count && bytes.readUInt64(at: position) | small == first
      && bytes.readUInt64(at: position + count - 8) | small == last
  }

  private static func digits(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Int? {
    var value = 0
    for position in start..<end {
      let digit = Int(bytes[position]) - 0x30
      guard (0...9).contains(digit) else { return nil }
      value = value * 10 + digit
    }
    return value
  }

  /// A decimal number that is followed by the line's end: nil when that has not arrived, -1 when it is no number.
  private static func number(_ bytes: Span<UInt8>, _ start: Int) -> Int? {
    var position = start
    while position < bytes.count, bytes[position] == 0x20 { position += 1 }
    var value = 0
    var count = 0
    while position < bytes.count {
      let digit = Int(bytes[position]) - 0x30
      guard (0...9).contains(digit) else { return count > 0 && bytes[position] == 0x0d ? value : -1 }
      value = value * 10 + digit
      count += 1
      if count > 15 { return -1 }
      position += 1
    }
    return nil
  }
}
