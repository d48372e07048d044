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
    /// The position of the entry before it whose flow has a hash like this one's, -1 without.
    fileprivate var previous: Int
    fileprivate var hash: UInt64
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
  /// The position of the last entry by the low bits of its flow's hash, -1 without.
  private var latest = [Int](repeating: -1, count: UnconfirmedHandoffs.hashes)

  private static let hashes = 4096
  /// Entries that are over are removed so many at a time.
  private static let removedTogether = 256
  /// Memory beyond this is given back when nothing is left.
  private static let textKept = 1 << 20

  var count: Int { positions.count }

  /// Bytes of requests that are kept.
  var bytes: Int { head < entries.count ? textEnd - entries[head].start : 0 }

  /// When the first of all was read; nil without any.
  var oldest: UInt64? { head < entries.count ? entries[head].since : nil }

  func contains(_ id: HandoffID) -> Bool { positions[id] != nil }

  /// - Parameters:
  ///   - hash: of the flow, with a key.
  ///   - packet: the request, from its IP header on.
  mutating func append(
    _ handoff: LeasedHandoff, _ flow: FlowTuple, hash: UInt64, clientInitial: SequenceNumber, _ packet: Span<UInt8>,
    now: UInt64
  ) {
    compact()
    if text.count < textEnd + packet.count {
      text += Array(repeating: 0, count: max(packet.count, text.count))
    }
    let start = textEnd
    var all = text.mutableSpan
    ByteCopy.copy(packet, to: &all, at: start)
    let (position, bucket) = (removed + entries.count, UnconfirmedHandoffs.bucket(hash))
    entries.append(
      Entry(
        handoff: handoff, flow: flow, clientInitial: clientInitial, since: now, previous: latest[bucket], hash: hash,
        start: start, length: packet.count))
    positions[handoff.id] = position
    latest[bucket] = position
    textEnd += packet.count
  }

  private mutating func compact() {
    if head == entries.count {
      removed += head
      entries.removeAll(keepingCapacity: true)
      (head, textEnd) = (0, 0)
      if text.count > UnconfirmedHandoffs.textKept {
        text = []
        entries = []
      }
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

  /// The request of an entry that was taken out since the last `append`.
  func request(of entry: Entry) -> [UInt8] { Array(text[entry.start..<entry.start + entry.length]) }

  /// - Parameter backEnd: who speaks of it; nil when it is another one's.
  mutating func take(_ id: HandoffID, at backEnd: UInt16) -> Entry? {
    guard let position = positions[id], entries[position - removed].handoff.backEnd == backEnd else { return nil }
    return close(position - removed)
  }

  /// One that was read at `time` or before.
  mutating func take(readUntil time: UInt64) -> Entry? {
    head < entries.count && entries[head].since <= time ? close(head) : nil
  }

  mutating func take(_ flow: FlowTuple, hash: UInt64) -> Entry? {
    var position = latest[UnconfirmedHandoffs.bucket(hash)]
    while position >= removed + head {
      let entry = entries[position - removed]
      if entry.isOpen, entry.hash == hash, entry.flow == flow { return close(position - removed) }
      position = entry.previous
    }
    return nil
  }

  /// All that went to `backEnd`. Their requests can be read until the next `append`.
  mutating func takeAll(at backEnd: UInt16) -> [Entry] {
    let indices = entries.indices[head...].filter { entries[$0].isOpen && entries[$0].handoff.backEnd == backEnd }
    return indices.map { close($0) }
  }

  private mutating func close(_ index: Int) -> Entry {
    let entry = entries[index]
    entries[index].isOpen = false
    positions[entry.handoff.id] = nil
    while head < entries.count, !entries[head].isOpen { head += 1 }
    return entry
  }

  private static func bucket(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: hash) & (hashes - 1) }
}
