// SPDX-License-Identifier: Apache-2.0

internal import Handoff
internal import Wire

/// Handoffs by the kernel of which no back-end has said a word yet, with their requests, in the order in which they were
/// read.
///
/// Nearly all are confirmed by the next news of their agent. So one is a place in a queue and no more: it becomes a connection
/// of the responder when the word does not come (`Responder.reveal`).
struct UnconfirmedHandoffs {
  struct Entry: BitwiseCopyable {
    var handoff: LeasedHandoff
    var flow: FlowTuple
    var clientInitial: SequenceNumber
    /// When it was read, in nanoseconds.
    var since: UInt64
    /// The request, from its IP header on, in `text`.
    fileprivate var start: Int
    fileprivate var length: Int
    fileprivate var isOpen = true
  }

  private var entries: [Entry] = []
  /// Entries before this one are over.
  private var head = 0
  /// So many entries were removed from the front of `entries`.
  private var removed = 0
  /// Where an open entry is, counted from the first that there ever was.
  private var positions: [HandoffID: Int] = [:]
  private var text: [UInt8] = []
  private var textEnd = 0
  /// Open entries by a hash of their flow: most searches for a flow end here.
  private var counts = [UInt32](repeating: 0, count: UnconfirmedHandoffs.countsSize)

  private static let countsSize = 4096
  /// Entries that are over are removed so many at a time.
  private static let removedTogether = 256

  var count: Int { positions.count }

  /// Bytes of requests that are kept.
  var bytes: Int { head < entries.count ? textEnd - entries[head].start : 0 }

  /// When the first of all was read; nil without any.
  var oldest: UInt64? { head < entries.count ? entries[head].since : nil }

  func contains(_ id: HandoffID) -> Bool { positions[id] != nil }

  /// - Parameter packet: the request, from its IP header on.
  mutating func append(
    _ handoff: LeasedHandoff, _ flow: FlowTuple, clientInitial: SequenceNumber, _ packet: Span<UInt8>, now: UInt64
  ) {
    compact()
    if text.count < textEnd + packet.count {
      text += Array(repeating: 0, count: max(packet.count, text.count))
    }
    let start = textEnd
    var all = text.mutableSpan
    ByteCopy.copy(packet, to: &all, at: start)
    positions[handoff.id] = removed + entries.count
    entries.append(
      Entry(
        handoff: handoff, flow: flow, clientInitial: clientInitial, since: now, start: start, length: packet.count))
    textEnd += packet.count
    counts[UnconfirmedHandoffs.place(flow)] += 1
  }

  private mutating func compact() {
    if head == entries.count {
      removed += head
      entries.removeAll(keepingCapacity: true)
      (head, textEnd) = (0, 0)
    } else if head >= UnconfirmedHandoffs.removedTogether, head > entries.count / 2 {
      let unused = entries[head].start
      text.removeSubrange(..<unused)
      textEnd -= unused
      removed += head
      entries.removeSubrange(..<head)
      head = 0
      for index in entries.indices { entries[index].start -= unused }
    }
  }

  /// The request of an entry that was taken out last.
  func request(of entry: Entry) -> [UInt8] { Array(text[entry.start..<entry.start + entry.length]) }

  mutating func take(_ id: HandoffID) -> Entry? {
    positions[id].map { close($0 - removed) }
  }

  /// One that was read at `time` or before.
  mutating func take(readUntil time: UInt64) -> Entry? {
    head < entries.count && entries[head].since <= time ? close(head) : nil
  }

  mutating func take(_ flow: FlowTuple) -> Entry? {
    if counts[UnconfirmedHandoffs.place(flow)] == 0 { return nil }
    return entries[head...].firstIndex { $0.isOpen && $0.flow == flow }.map { close($0) }
  }

  /// One that went to `backEnd`.
  mutating func take(at backEnd: UInt16) -> Entry? {
    entries[head...].firstIndex { $0.isOpen && $0.handoff.backEnd == backEnd }.map { close($0) }
  }

  private mutating func close(_ index: Int) -> Entry {
    let entry = entries[index]
    entries[index].isOpen = false
    positions[entry.handoff.id] = nil
    counts[UnconfirmedHandoffs.place(entry.flow)] -= 1
    while head < entries.count, !entries[head].isOpen { head += 1 }
    return entry
  }

  private static func place(_ flow: FlowTuple) -> Int {
    let address = flow.client.address
    let mixed = (address.high ^ address.low ^ UInt64(flow.client.port) << 16) &* 0x9e37_79b9_7f4a_7c15
    return Int(truncatingIfNeeded: mixed >> 52)
  }
}
