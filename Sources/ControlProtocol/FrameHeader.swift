// SPDX-License-Identifier: Apache-2.0

internal import Wire

/// The eight bytes before each message body: body length (4 bytes, big-endian), type, three zero bytes.
public struct FrameHeader: Hashable, Sendable, BitwiseCopyable {
  public static let length = 8
  /// 1 MiB.
  public static let maximumBodyLength = 1 << 20

  public var bodyLength: Int
  public var type: UInt8

  public init(bodyLength: Int, type: UInt8) {
    self.bodyLength = bodyLength
    self.type = type
  }

  /// The whole frame in bytes.
  public var frameLength: Int { FrameHeader.length + bodyLength }

  /// Reads the header at `offset`; nil when fewer than eight bytes are there yet. The type is not judged here.
  ///
  /// - Throws: `.bodyTooLong`, `.reservedBytesNotZero`.
  public static func parse(
    _ bytes: Span<UInt8>, at offset: Int = 0
  ) throws(ControlProtocolError) -> FrameHeader? {
    guard offset >= 0, bytes.count - offset >= length else { return nil }
    let bodyLength = bytes.readUInt32(at: offset)
    let typeAndReserved = bytes.readUInt32(at: offset + 4)
    guard typeAndReserved & 0x00ff_ffff == 0 else { throw .reservedBytesNotZero }
    guard bodyLength <= UInt32(maximumBodyLength) else { throw .bodyTooLong }
    return FrameHeader(bodyLength: Int(bodyLength), type: UInt8(truncatingIfNeeded: typeAndReserved >> 24))
  }
}

/// Message types on the wire.
enum MessageType: UInt8, CaseIterable {
  case hello = 1
  case ping = 2
  case pong = 3
  case goodbye = 4
  case registerBackEnd = 16
  case registerDistributor = 17
  case loadReport = 18
  case decisionRequests = 19
  case assignmentsReturned = 20
  case leaseAccounts = 29
  case clusterView = 32
  case decisions = 33
  case rules = 34
  case leaseCredits = 35
  case targetLeases = 36
  case handoff = 48
  case handoffAccepted = 49
  case handoffRefused = 50
  case handoffsEnded = 51
  case abortHandoff = 52
  case packetHandoffs = 53
  case handoffsAccepted = 54
  case handoffWanted = 55
  case handoffsCut = 56
  case flowsEnded = 57
  case flowsHeld = 58
}
