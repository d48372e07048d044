// SPDX-License-Identifier: Apache-2.0

internal import Wire

/// A position in a message body. Every read checks that the bytes are there.
struct BodyReader {
  private(set) var offset = 0

  /// Claims `count` bytes and returns where they start.
  mutating func take(_ count: Int, of body: Span<UInt8>) throws(ControlProtocolError) -> Int {
    guard body.count - offset >= count else { throw .truncated }
    defer { offset += count }
    return offset
  }

  mutating func uint8(_ body: Span<UInt8>) throws(ControlProtocolError) -> UInt8 { body[try take(1, of: body)] }

  mutating func uint16(_ body: Span<UInt8>) throws(ControlProtocolError) -> UInt16 {
    body.readUInt16(at: try take(2, of: body))
  }

  mutating func uint32(_ body: Span<UInt8>) throws(ControlProtocolError) -> UInt32 {
    body.readUInt32(at: try take(4, of: body))
  }

  mutating func uint64(_ body: Span<UInt8>) throws(ControlProtocolError) -> UInt64 {
    body.readUInt64(at: try take(8, of: body))
  }

  mutating func address(_ body: Span<UInt8>) throws(ControlProtocolError) -> IPAddress {
    let start = try take(16, of: body)
    return IPAddress(high: body.readUInt64(at: start), low: body.readUInt64(at: start + 8))
  }

  mutating func endpoint(_ body: Span<UInt8>) throws(ControlProtocolError) -> Endpoint {
    Endpoint(try address(body), try uint16(body))
  }

  mutating func macAddress(_ body: Span<UInt8>) throws(ControlProtocolError) -> MACAddress {
    let high = try uint16(body)
    return MACAddress(bits: UInt64(high) << 32 | UInt64(try uint32(body)))
  }

  /// One length byte, then that many bytes of UTF-8.
  mutating func text(_ body: Span<UInt8>) throws(ControlProtocolError) -> String {
    let length = Int(try uint8(body))
    let start = try take(length, of: body)
    guard let utf8 = try? UTF8Span(validating: body.extracting(start..<start + length)) else { throw .invalidUTF8 }
    return String(copying: utf8)
  }

  /// One count byte, then that many texts.
  mutating func texts(_ body: Span<UInt8>, limit: Int) throws(ControlProtocolError) -> [String] {
    let count = Int(try uint8(body))
    guard count <= limit else { throw .tooManyElements }
    var texts: [String] = []
    for _ in 0..<count { texts.append(try text(body)) }
    return texts
  }

  mutating func backEndState(_ body: Span<UInt8>) throws(ControlProtocolError) -> BackEndState {
    guard let state = BackEndState(rawValue: try uint8(body)) else { throw .invalidBackEndState }
    return state
  }

  /// A two-byte count that is at most `limit`.
  mutating func count(_ body: Span<UInt8>, limit: Int) throws(ControlProtocolError) -> Int {
    let count = Int(try uint16(body))
    guard count <= limit else { throw .tooManyElements }
    return count
  }

  func finish(_ body: Span<UInt8>) throws(ControlProtocolError) {
    guard offset == body.count else { throw .trailingBytes }
  }
}

extension OutputSpan where Element == UInt8 {
  mutating func append(bigEndian value: UInt16) {
    append(UInt8(truncatingIfNeeded: value >> 8))
    append(UInt8(truncatingIfNeeded: value))
  }

  mutating func append(bigEndian value: UInt32) {
    append(bigEndian: UInt16(truncatingIfNeeded: value >> 16))
    append(bigEndian: UInt16(truncatingIfNeeded: value))
  }

  mutating func append(bigEndian value: UInt64) {
    append(bigEndian: UInt32(truncatingIfNeeded: value >> 32))
    append(bigEndian: UInt32(truncatingIfNeeded: value))
  }

  mutating func append(_ address: IPAddress) {
    append(bigEndian: address.high)
    append(bigEndian: address.low)
  }

  mutating func append(_ endpoint: Endpoint) {
    append(endpoint.address)
    append(bigEndian: endpoint.port)
  }

  mutating func append(_ mac: MACAddress) {
    append(bigEndian: UInt16(truncatingIfNeeded: mac.bits >> 32))
    append(bigEndian: UInt32(truncatingIfNeeded: mac.bits))
  }

  mutating func append(bodyLength: Int, _ type: MessageType) {
    append(bigEndian: UInt32(bodyLength))
    append(bigEndian: UInt32(type.rawValue) << 24)
  }

  /// One length byte and at most 255 bytes of UTF-8, cut at a character border.
  mutating func append(text: String) {
    let length = BodyLength.text(text) - 1
    append(UInt8(length))
    for byte in text.utf8.prefix(length) { append(byte) }
  }

  /// One count byte and at most 255 texts.
  mutating func append(texts: [String]) {
    append(UInt8(clamping: texts.count))
    for text in texts.prefix(255) { append(text: text) }
  }
}

/// Lengths of the variable parts.
enum BodyLength {
  static func texts(_ texts: [String]) -> Int { texts.prefix(255).reduce(1) { $0 + text($1) } }

  static func text(_ text: String) -> Int {
    let utf8 = text.utf8
    guard utf8.count > ControlProtocolLimit.textBytes else { return 1 + utf8.count }
    var end = utf8.index(utf8.startIndex, offsetBy: ControlProtocolLimit.textBytes)
    // Back from a continuation byte (0b10xx_xxxx) to the first byte of its scalar.
    while end > utf8.startIndex, utf8[end] & 0xc0 == 0x80 { end = utf8.index(before: end) }
    return 1 + utf8.distance(from: utf8.startIndex, to: end)
  }
}
