// SPDX-License-Identifier: Apache-2.0

import Wire

extension ConnectionTrace {
  /// What both ends' segments must satisfy on a network that loses nothing, however many machines play the server. Each
  /// entry names a rule that was broken and where.
  ///
  /// - Sequence numbers of each side continue without a gap, and no byte is sent twice.
  /// - An acknowledgment never passes what was sent (RFC 9293 section 3.4), nor data the window (section 3.8.6).
  /// - An advertised window's right edge never moves back (section 3.8.6) by more than the scale's rounding.
  /// - Timestamps are on every segment if both SYNs had them, on none else, and never go back (RFC 7323 section 3.2).
  /// - A window scale or SACK permission in the answer was offered (RFC 7323 section 2.2, RFC 2018 section 2).
  /// - No side resets before it has sent a FIN.
  ///
  /// The capture is to be taken beside the client, where every segment is seen before its acknowledgment.
  public func violations(allowingRetransmissions: Bool = false) -> [String] {
    var check = ConnectionCheck(allowsRetransmissions: allowingRetransmissions)
    for (index, captured) in segments.enumerated() {
      check.take(captured, fromClient: isFromClient(captured), index)
    }
    return check.found.map { "\(flow.client) to \(flow.service): \($0)" }
  }
}

private struct ConnectionCheck {
  private struct Side {
    let name: String
    var opening: TCPSegment?
    /// After the last byte sent.
    var next = SequenceNumber(0)
    var timestamp: UInt32?
    /// The first sequence number that the peer may not send yet.
    var windowEnd: SequenceNumber?
    var hasFinished = false
  }

  let allowsRetransmissions: Bool
  var found: [String] = []
  private var client = Side(name: "client")
  private var server = Side(name: "server")

  init(allowsRetransmissions: Bool) { self.allowsRetransmissions = allowsRetransmissions }

  mutating func take(_ captured: CapturedSegment, fromClient: Bool, _ index: Int) {
    var own = fromClient ? client : server
    check(captured, &own, fromClient ? server : client, index)
    if fromClient { client = own } else { server = own }
  }

  private mutating func check(_ captured: CapturedSegment, _ own: inout Side, _ peer: Side, _ index: Int) {
    let segment = captured.segment
    let place = "segment \(index) of the \(own.name)"
    if segment.flags.contains(.rst) {
      if !own.hasFinished { found.append("\(place): reset before any FIN") }
      return
    }
    if own.opening == nil {
      guard segment.flags.contains(.syn) else { return found.append("\(place): no SYN before it") }
      checkAnswer(segment, peer, place)
      own.opening = segment
      own.next = segment.sequence
    }
    checkSequence(captured, &own, peer, place)
    checkTimestamp(segment, &own, peer, place)
    if segment.flags.contains(.ack) { checkAcknowledgment(segment, &own, peer, place) }
    if segment.flags.contains(.fin) { own.hasFinished = true }
  }

  private mutating func checkAnswer(_ segment: TCPSegment, _ peer: Side, _ place: String) {
    guard let offer = peer.opening?.options else { return }
    if segment.options.windowScale != nil, offer.windowScale == nil {
      found.append("\(place): a window scale that was not offered")
    }
    if segment.options.sackPermitted, !offer.sackPermitted {
      found.append("\(place): SACK permission that was not offered")
    }
  }

  private mutating func checkSequence(
    _ captured: CapturedSegment, _ own: inout Side, _ peer: Side, _ place: String
  ) {
    let segment = captured.segment
    let length = segment.sequenceLength(payload: captured.payload)
    let ahead = own.next.distance(to: segment.sequence)
    if ahead > 0 { found.append("\(place): a gap of \(ahead) bytes") }
    if ahead < 0, length > 0, !allowsRetransmissions { found.append("\(place): \(-ahead) bytes sent again") }
    let end = segment.sequence.advanced(by: length)
    if end > own.next { own.next = end }
    if captured.payload > 0, let edge = peer.windowEnd, end > edge {
      found.append("\(place): \(edge.distance(to: end)) bytes beyond the window")
    }
  }

  private mutating func checkTimestamp(
    _ segment: TCPSegment, _ own: inout Side, _ peer: Side, _ place: String
  ) {
    // Known once both SYNs were seen.
    guard let mine = own.opening, let other = peer.opening else { return }
    let isNegotiated = mine.options.timestamps != nil && other.options.timestamps != nil
    switch segment.options.timestamps {
    case .some(let timestamps):
      if !isNegotiated { found.append("\(place): timestamps that were not negotiated") }
      if let last = own.timestamp, Int32(bitPattern: timestamps.value &- last) < 0 {
        found.append("\(place): timestamp \(timestamps.value) after \(last)")
      }
      own.timestamp = timestamps.value
    case .none:
      if isNegotiated { found.append("\(place): no timestamps although negotiated") }
    }
  }

  private mutating func checkAcknowledgment(
    _ segment: TCPSegment, _ own: inout Side, _ peer: Side, _ place: String
  ) {
    guard let mine = own.opening, let other = peer.opening else { return }
    if segment.acknowledgment > peer.next {
      found.append("\(place): acknowledges \(peer.next.distance(to: segment.acknowledgment)) bytes that were not sent")
    }
    // The window of a SYN is never scaled (RFC 7323 section 2.2).
    let isScaled = mine.options.windowScale != nil && other.options.windowScale != nil
    let shift = isScaled && !segment.flags.contains(.syn) ? Int(min(14, mine.options.windowScale ?? 0)) : 0
    let edge = segment.acknowledgment.advanced(by: Int(segment.window) << shift)
    if let before = own.windowEnd {
      if before.distance(to: edge) < -(1 << shift) {
        found.append("\(place): the window shrinks by \(edge.distance(to: before)) bytes")
      }
      if edge > before { own.windowEnd = edge }
    } else {
      own.windowEnd = edge
    }
  }
}
