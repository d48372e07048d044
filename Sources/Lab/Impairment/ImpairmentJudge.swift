// SPDX-License-Identifier: Apache-2.0

import Wire

/// Decides what happens to each frame. A value: the same frames in the same order have the same fate.
public struct ImpairmentJudge: Sendable {
  /// What the judge knows of one connection, named by the client's side of it.
  private struct Flow {
    var sawResponse = false
    /// Matches so far of each rule.
    var matches: [Int]
  }

  private let rules: [Impairment.Rule]
  private var random: SeededRandom
  private var flows: [FlowTuple: Flow] = [:]

  public init(_ impairment: Impairment) {
    rules = impairment.rules
    random = SeededRandom(seed: impairment.seed)
  }

  /// One entry per copy to be sent: nanoseconds to hold it back. Empty: the frame is lost.
  public mutating func fate(of frame: Span<UInt8>, _ direction: Impairment.Direction) -> [UInt64] {
    guard let segment = Segment(frame, direction) else { return [0] }
    let tuple = segment.tuple
    let phase = phase(of: segment, tuple, direction)
    for (index, rule) in rules.enumerated() {
      guard rule.direction == nil || rule.direction == direction,
        rule.phases.isEmpty || rule.phases.contains(phase)
      else { continue }
      var flow = flows[tuple] ?? fresh
      flow.matches[index] += 1
      flows[tuple] = flow
      if let limit = rule.onlyFirst, flow.matches[index] > limit { return [0] }
      return judge(rule)
    }
    return [0]
  }

  private var fresh: Flow { Flow(matches: Array(repeating: 0, count: rules.count)) }

  private mutating func judge(_ rule: Impairment.Rule) -> [UInt64] {
    // All are drawn each time, so that one probability's change does not shift the others' choices.
    let (drop, duplicate, reorder) = (random.uniform(), random.uniform(), random.uniform())
    if drop < rule.drop { return [] }
    var hold = UInt64(rule.delay * 1e6)
    if reorder < rule.reorder { hold += UInt64(rule.reorderedBy * 1e6) }
    return duplicate < rule.duplicate ? [hold, hold] : [hold]
  }

  private mutating func phase(
    of segment: Segment, _ tuple: FlowTuple, _ direction: Impairment.Direction
  ) -> Impairment.Phase {
    if segment.flags.contains(.syn) {
      if direction == .fromClient, !segment.flags.contains(.ack) {
        // A reused port is a new connection.
        if flows[tuple]?.sawResponse == true { flows[tuple] = nil }
        return .syn
      }
      return .synAck
    }
    if segment.flags.contains(.rst) { return .reset }
    if segment.payload > 0 {
      if direction == .fromClient { return .request }
      var flow = flows[tuple] ?? fresh
      flow.sawResponse = true
      flows[tuple] = flow
      return .response
    }
    if segment.flags.contains(.fin) { return .fin }
    let isEarly = direction == .fromClient && flows[tuple]?.sawResponse != true
    return isEarly ? .handshakeAck : .acknowledgement
  }

  /// What matters of a TCP segment in a frame; nil for everything else.
  private struct Segment {
    var tuple: FlowTuple
    var flags: TCPFlags
    var payload: Int

    init?(_ frame: Span<UInt8>, _ direction: Impairment.Direction) {
      guard frame.count > 14,
        let parsed = try? TCPSegment.parse(frame.extracting(14..<frame.count), verifyingChecksums: false)
      else { return nil }
      let segment = parsed.segment
      tuple =
        direction == .fromClient
        ? FlowTuple(client: segment.source, service: segment.destination)
        : FlowTuple(client: segment.destination, service: segment.source)
      flags = segment.flags
      payload = parsed.payload.count
    }
  }
}
