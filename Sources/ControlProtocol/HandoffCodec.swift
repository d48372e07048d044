// SPDX-License-Identifier: Apache-2.0

public import Handoff
internal import Wire

/// The body of `.handoff`: id 8, snapshot 70, then the request bytes to the end of the body.
///
/// Snapshot: client and service endpoint (18 each), snd.nxt, rcv.nxt, client ISN, snd.wnd, rcv.wnd (4 each), MSS 2, flags 1
/// (1 window scale, 2 SACK, 4 timestamps, 8 sent by packet before), send shift 1, receive shift 1, zero 1, next TSval 4, ts.recent 4. Fields whose flag
/// is not set are zero.
enum HandoffCodec {
  static let snapshotLength = 70
  static let fixedLength = 8 + snapshotLength

  private static let windowScaleFlag: UInt8 = 1
  private static let sackFlag: UInt8 = 2
  private static let timestampsFlag: UInt8 = 4
  private static let packetFlag: UInt8 = 8
  /// RFC 7323 section 2.3.
  private static let maximumShift: UInt8 = 14

  static func append(_ snapshot: TCPSnapshot, wasSentByPacket: Bool, to output: inout OutputSpan<UInt8>) {
    output.append(snapshot.flow.client)
    output.append(snapshot.flow.service)
    output.append(bigEndian: snapshot.sendNext.rawValue)
    output.append(bigEndian: snapshot.receiveNext.rawValue)
    output.append(bigEndian: snapshot.clientInitialSequence.rawValue)
    output.append(bigEndian: snapshot.sendWindow)
    output.append(bigEndian: snapshot.receiveWindow)
    output.append(bigEndian: snapshot.maximumSegmentSize)
    var flags: UInt8 = 0
    if snapshot.windowScale != nil { flags |= windowScaleFlag }
    if snapshot.sackPermitted { flags |= sackFlag }
    if snapshot.timestamps != nil { flags |= timestampsFlag }
    if wasSentByPacket { flags |= packetFlag }
    output.append(flags)
    output.append(snapshot.windowScale?.send ?? 0)
    output.append(snapshot.windowScale?.receive ?? 0)
    output.append(0)
    output.append(bigEndian: snapshot.timestamps?.nextValue ?? 0)
    output.append(bigEndian: snapshot.timestamps?.recent ?? 0)
  }

  static func decode(_ body: Span<UInt8>) throws(ControlProtocolError) -> HandoffRequest {
    var reader = BodyReader()
    let id = HandoffID(try reader.uint64(body))
    var wasSentByPacket = false
    let snapshot = try decodeSnapshot(body, &reader, &wasSentByPacket)
    let start = reader.offset
    let request = [UInt8](capacity: body.count - start) { (output: inout OutputSpan<UInt8>) in
      for index in start..<body.count { output.append(body[index]) }
    }
    return HandoffRequest(id: id, snapshot: snapshot, request: request, wasSentByPacket: wasSentByPacket)
  }

  private static func decodeSnapshot(
    _ body: Span<UInt8>, _ reader: inout BodyReader, _ wasSentByPacket: inout Bool
  ) throws(ControlProtocolError) -> TCPSnapshot {
    let client = try reader.endpoint(body)
    let service = try reader.endpoint(body)
    let sendNext = SequenceNumber(try reader.uint32(body))
    let receiveNext = SequenceNumber(try reader.uint32(body))
    let clientInitialSequence = SequenceNumber(try reader.uint32(body))
    let sendWindow = try reader.uint32(body)
    let receiveWindow = try reader.uint32(body)
    let maximumSegmentSize = try reader.uint16(body)
    let flags = try reader.uint8(body)
    let scale = TCPSnapshot.WindowScale(send: try reader.uint8(body), receive: try reader.uint8(body))
    let zero = try reader.uint8(body)
    let timestamps = TCPSnapshot.Timestamps(nextValue: try reader.uint32(body), recent: try reader.uint32(body))
    let hasScale = flags & windowScaleFlag != 0
    let hasTimestamps = flags & timestampsFlag != 0
    guard flags & ~(windowScaleFlag | sackFlag | timestampsFlag | packetFlag) == 0, zero == 0,
      hasScale || (scale.send == 0 && scale.receive == 0),
      hasTimestamps || (timestamps.nextValue == 0 && timestamps.recent == 0)
    else { throw .invalidFlags }
    wasSentByPacket = flags & packetFlag != 0
    guard scale.send <= maximumShift, scale.receive <= maximumShift else { throw .invalidWindowScale }
    return TCPSnapshot(
      flow: FlowTuple(client: client, service: service), sendNext: sendNext, receiveNext: receiveNext,
      clientInitialSequence: clientInitialSequence, sendWindow: sendWindow, receiveWindow: receiveWindow,
      maximumSegmentSize: maximumSegmentSize, windowScale: hasScale ? scale : nil,
      sackPermitted: flags & sackFlag != 0, timestamps: hasTimestamps ? timestamps : nil)
  }
}

extension Message {
  /// Appends a whole `.handoff` frame straight from its parts.
  ///
  /// - Precondition: `request.count <= ControlProtocolLimit.requestBytes`; the request collector's bound is far below.
  public static func encodeHandoff(
    id: HandoffID, snapshot: TCPSnapshot, request: Span<UInt8>, wasSentByPacket: Bool = false, into bytes: inout [UInt8]
  ) {
    precondition(request.count <= ControlProtocolLimit.requestBytes, "a request head is bounded where it is collected")
    let bodyLength = HandoffCodec.fixedLength + request.count
    bytes.append(addingCapacity: FrameHeader.length + bodyLength) { (output: inout OutputSpan<UInt8>) in
      output.append(bodyLength: bodyLength, .handoff)
      output.append(bigEndian: id.rawValue)
      HandoffCodec.append(snapshot, wasSentByPacket: wasSentByPacket, to: &output)
      for index in request.indices { output.append(request[index]) }
    }
  }
}
