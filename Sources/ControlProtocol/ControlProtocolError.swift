// SPDX-License-Identifier: Apache-2.0

/// Why bytes of a peer are not a message. The connection that brought them cannot be continued: frame borders are lost or
/// the peer speaks something else.
public enum ControlProtocolError: Error, Hashable, Sendable, CaseIterable {
  /// The frame announces a body above `FrameHeader.maximumBodyLength`.
  case bodyTooLong
  /// The three bytes after the type are not zero: not our protocol, or a later version.
  case reservedBytesNotZero
  case unknownType
  /// The body ends before its last field.
  case truncated
  /// The body goes on after its last field.
  case trailingBytes
  /// A list holds more elements than its bound in `ControlProtocolLimit`.
  case tooManyElements
  case invalidUTF8
  case invalidRole
  case invalidBackEndState
  case invalidHandoffRefusal
  case invalidDecisionOutcome
  /// A kind of stickiness that does not exist, or a prefix longer than an address.
  case invalidRule
  /// A flag bit that has no meaning, or a field that its flag says is absent and that is not zero.
  case invalidFlags
  /// A shift above 14 (RFC 7323 section 2.3).
  case invalidWindowScale
}

extension ControlProtocolError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .bodyTooLong: "frame with a body above \(FrameHeader.maximumBodyLength) bytes"
    case .reservedBytesNotZero: "frame header whose reserved bytes are not zero"
    case .unknownType: "message of unknown type"
    case .truncated: "message that ends before its last field"
    case .trailingBytes: "message that goes on after its last field"
    case .tooManyElements: "message with more elements than allowed"
    case .invalidUTF8: "text that is not UTF-8"
    case .invalidRole: "unknown role"
    case .invalidBackEndState: "unknown back-end state"
    case .invalidHandoffRefusal: "unknown reason of a refused handoff"
    case .invalidDecisionOutcome: "unknown outcome of a decision"
    case .invalidRule: "rule with an unknown kind of stickiness or an address prefix above 128 bits"
    case .invalidFlags: "flags or absent fields that are not zero"
    case .invalidWindowScale: "window scale above 14"
    }
  }
}

/// Bounds on what one message holds. They keep a hostile or broken peer from making us allocate, and are above what any
/// cluster of the supported size sends.
public enum ControlProtocolLimit {
  /// Bytes of UTF-8 in a name or a goodbye text; encoding cuts longer text at a character border.
  public static let textBytes = 255
  /// Back-ends in one `ClusterView`.
  public static let backEnds = 1024
  /// Pools that one back-end is in.
  public static let pools = 16
  /// Service endpoints in one `ClusterView` or one `DistributorRegistration`.
  public static let services = 1024
  /// Elements of the list messages (decision requests, decisions, returned assignments, ended handoffs). Longer lists are
  /// encoded as several frames.
  public static let batch = 16_384
  /// Request bytes that travel with one handoff.
  public static let requestBytes = FrameHeader.maximumBodyLength - HandoffCodec.fixedLength
}
