// SPDX-License-Identifier: Apache-2.0

/// What a scan found.
public enum RequestHeadResult: Hashable, Sendable, BitwiseCopyable {
  /// No rule is broken so far; scan again when more bytes are there.
  case incomplete
  case complete(RequestHead)
  /// The first rule that the bytes break, in their order.
  case invalid(RequestHeadError)
}

/// Scans a request head in a growing buffer; remembers how far it looked, so that one byte per segment costs no more than
/// all bytes in one.
///
/// The result depends on the bytes alone, not on how they were split: every byte is looked at once, in order, and a rule
/// is checked at the byte that decides it. Garbage is refused at its first byte, not after `maximumHeadLength`.
/// Allocates nothing and never traps, whatever the bytes.
public struct RequestHeadScanner: Sendable, BitwiseCopyable {
  enum Phase: UInt8, BitwiseCopyable {
    case start, startLineFeed
    case method, target, version, versionLineFeed
    case lineStart, fieldName, fieldValue, fieldLineFeed
    case endLineFeed
    case complete
  }

  /// The fields that the scanner reads.
  enum Field: UInt8, BitwiseCopyable {
    case host, contentLength, transferEncoding, connection, expect, upgrade, other
  }

  let limits: RequestHeadLimits
  var phase = Phase.start
  /// Bytes looked at.
  var position = 0
  /// Where the method, target, version, field name or field value being read began.
  var elementStart = 0
  var emptyLines = 0
  var field = Field.other
  var head = RequestHead()
  var facts = FieldFacts()
  var failure: RequestHeadError?

  public init(limits: RequestHeadLimits = RequestHeadLimits()) { self.limits = limits }

  /// Bytes that no later scan looks at again, but for the field line or request line that is not complete yet.
  public var scannedCount: Int { position }

  /// Scans what came since the last call.
  ///
  /// - Parameter bytes: everything received so far, from the first byte of the connection on; each call gives the bytes
  ///   of the calls before and more. After `.complete` or `.invalid` the answer stays.
  public mutating func scan(_ bytes: Span<UInt8>) -> RequestHeadResult {
    if let failure { return .invalid(failure) }
    do throws(RequestHeadError) {
      return try advance(bytes) ? .complete(head) : .incomplete
    } catch {
      failure = error
      return .invalid(error)
    }
  }

  /// True when the head is complete.
  private mutating func advance(_ bytes: Span<UInt8>) throws(RequestHeadError) -> Bool {
    let end = min(bytes.count, limits.maximumHeadLength)
    while phase != .complete, position < end {
      switch phase {
      case .start: try start(bytes[position])
      case .startLineFeed: try expectLineFeed(bytes[position], then: .start)
      case .method: try method(bytes, end)
      case .target: try target(bytes, end)
      case .version: try version(bytes[position])
      case .versionLineFeed:
        try expectLineFeed(bytes[position], then: .lineStart)
        try finishRequestLine(bytes)
      case .lineStart: try lineStart(bytes[position])
      case .fieldName: try fieldName(bytes, end)
      case .fieldValue: try fieldValue(bytes, end)
      case .fieldLineFeed:
        let valueEnd = position - 1
        try expectLineFeed(bytes[position], then: .lineStart)
        try finishField(bytes, bytes.trimming(elementStart..<valueEnd))
      case .endLineFeed:
        try expectLineFeed(bytes[position], then: .complete)
        try finishHead(bytes)
      case .complete: break
      }
    }
    if phase == .complete { return true }
    guard position < limits.maximumHeadLength else { throw phase == .target ? .targetTooLong : .headTooLong }
    return false
  }

  private mutating func start(_ byte: UInt8) throws(RequestHeadError) {
    switch byte {
    case 0x0d:
      guard emptyLines < limits.maximumLeadingEmptyLines else { throw .tooManyEmptyLines }
      emptyLines += 1
      phase = .startLineFeed
      position += 1
    case 0x0a: throw .bareLineFeed
    case 0x16: throw .tlsRecord
    default:
      elementStart = position
      phase = .method
    }
  }

  private mutating func method(_ bytes: Span<UInt8>, _ end: Int) throws(RequestHeadError) {
    while position < end, bytes[position].isTokenByte {
      position += 1
      guard position - elementStart <= limits.maximumMethodLength else { throw .methodTooLong }
    }
    guard position < end else { return }
    guard bytes[position] == 0x20, position > elementStart else { throw .invalidMethod }
    head.methodBytes = ByteRange(elementStart..<position)
    position += 1
    elementStart = position
    phase = .target
  }

  private mutating func target(_ bytes: Span<UInt8>, _ end: Int) throws(RequestHeadError) {
    let rest = bytes.extracting(position..<end)
    var index = 0
    while index < rest.count, rest[index].isTargetByte { index &+= 1 }
    // The byte that is one too many decides, whatever comes behind it and in whichever segment.
    guard position + index - elementStart <= limits.maximumTargetLength else { throw .targetTooLong }
    position += index
    guard position < end else { return }
    guard position > elementStart else { throw .invalidTarget }
    switch bytes[position] {
    case 0x20: break
    case 0x0d, 0x0a: throw .missingVersion
    default: throw .invalidTarget
    }
    head.targetBytes = ByteRange(elementStart..<position)
    position += 1
    elementStart = position
    phase = .version
  }

  private mutating func version(_ byte: UInt8) throws(RequestHeadError) {
    switch position - elementStart {
    case 0: guard byte == 0x48 else { throw byte == 0x0d || byte == 0x0a ? .missingVersion : .malformedVersion }
    case 1, 2: guard byte == 0x54 else { throw .malformedVersion }
    case 3: guard byte == 0x50 else { throw .malformedVersion }
    case 4: guard byte == 0x2f else { throw .malformedVersion }
    case 5:
      guard byte.isDigit else { throw .malformedVersion }
      guard byte == 0x31 else { throw .unsupportedVersion }
    case 6: guard byte == 0x2e else { throw .malformedVersion }
    case 7:
      guard byte.isDigit else { throw .malformedVersion }
      head.version = HTTPVersion(major: 1, minor: byte &- 0x30)
    default:
      guard byte == 0x0d else { throw byte == 0x0a ? .bareLineFeed : .malformedVersion }
      phase = .versionLineFeed
    }
    position += 1
  }

  private mutating func lineStart(_ byte: UInt8) throws(RequestHeadError) {
    switch byte {
    case 0x0d:
      phase = .endLineFeed
      position += 1
    case 0x0a: throw .bareLineFeed
    case 0x20, 0x09: throw .lineFolding
    default:
      guard head.fieldCount < limits.maximumFieldCount else { throw .tooManyFields }
      head.fieldCount += 1
      elementStart = position
      phase = .fieldName
    }
  }

  private mutating func fieldName(_ bytes: Span<UInt8>, _ end: Int) throws(RequestHeadError) {
    let rest = bytes.extracting(position..<end)
    var index = 0
    while index < rest.count, rest[index].isTokenByte { index &+= 1 }
    position += index
    guard position < end else { return }
    let byte = bytes[position]
    guard position > elementStart, byte == 0x3a || byte.isWhitespace else { throw .invalidFieldName }
    // `Name text:` has a bad name rather than white space before the colon, but only bytes to come could tell.
    guard byte == 0x3a else { throw .whitespaceBeforeColon }
    field = Field(named: bytes, elementStart..<position)
    position += 1
    elementStart = position
    phase = .fieldValue
  }

  private mutating func fieldValue(_ bytes: Span<UInt8>, _ end: Int) throws(RequestHeadError) {
    // Most of a head is here: a local index over a part of its own needs no bounds check per byte.
    let rest = bytes.extracting(position..<end)
    var index = 0
    while index < rest.count, rest[index].isFieldValueByte { index &+= 1 }
    position += index
    guard position < end else { return }
    switch bytes[position] {
    case 0x0d:
      phase = .fieldLineFeed
      position += 1
    case 0x0a: throw .bareLineFeed
    default: throw .invalidFieldValue
    }
  }

  private mutating func expectLineFeed(_ byte: UInt8, then next: Phase) throws(RequestHeadError) {
    guard byte == 0x0a else { throw .bareCarriageReturn }
    position += 1
    phase = next
  }
}
