// SPDX-License-Identifier: Apache-2.0

/// Which decisions a distributor may repeat by itself, and for how long.
public struct LeaseTerms: Hashable, Sendable, BitwiseCopyable {
  /// The most requests that one lease lets through; 0 for no leases.
  public var credits: UInt16
  /// Nanoseconds for which a lease holds, at most 65 s.
  public var time: UInt64

  public init(credits: UInt16, time: UInt64) {
    self.credits = credits
    self.time = min(time, 65_000_000_000)
  }

  public static let none = LeaseTerms(credits: 0, time: 0)
}

/// How often targets are asked for, as far as it tells how many credits one will use up within a lease.
///
/// One entry per place of a fixed table, without probing: a target that is asked for often finds its place taken now and
/// then and gets no lease once.
struct LeaseDemand: Sendable {
  private struct Entry: Sendable, BitwiseCopyable {
    var key: UInt64 = 0
    /// When it was asked for last, in nanoseconds; 0 for an empty place.
    var last: UInt64 = 0
    /// Mean time between two requests, in microseconds.
    var interval: UInt32 = 0
    /// Requests that the last lease let through without asking.
    var covered: UInt16 = 0
  }

  private static let places = 8192
  /// The mean takes up a quarter of each new interval: two requests at once do not look like many.
  private static let weight: Int64 = 4

  private let terms: LeaseTerms
  private let longest: Int64
  private var entries: [Entry]

  init(_ terms: LeaseTerms) {
    self.terms = terms
    longest = 4 * Int64(terms.time / 1000)
    entries = Array(repeating: Entry(), count: terms.credits > 0 ? LeaseDemand.places : 0)
  }

  @inline(__always)
  var isOn: Bool { terms.credits > 0 }

  private static func place(_ key: UInt64) -> Int {
    // Keys of the table are uniform in their high bits; these are used there.
    Int(truncatingIfNeeded: (key &* 0x9e37_79b9_7f4a_7c15) >> 51)
  }

  /// Notes a request; returns how many further ones will probably come to each of `workers` within a lease.
  mutating func ask(_ key: UInt64, workers: Int, now: UInt64) -> UInt16 {
    let place = LeaseDemand.place(key)
    var entry = entries[place]
    guard entry.last != 0, entry.key == key else {
      // Until more is known: one in the time of a lease.
      entries[place] = Entry(key: key, last: now, interval: UInt32(terms.time / 1000), covered: 0)
      return 0
    }
    let elapsed = Int64((now - entry.last) / 1000 / (UInt64(entry.covered) + 1))
    let interval = Int64(entry.interval)
    entry.interval = UInt32(interval + (min(elapsed, longest) - interval) / LeaseDemand.weight)
    entry.last = now
    entry.covered = 0
    entries[place] = entry
    let share = UInt64(max(1, entry.interval)) * UInt64(max(1, workers))
    let expected = terms.time / 1000 / share
    return UInt16(min(UInt64(terms.credits), expected))
  }

  /// A lease of so many credits was granted.
  mutating func granted(_ key: UInt64, _ credits: UInt16) {
    let place = LeaseDemand.place(key)
    if entries[place].key == key { entries[place].covered = credits }
  }

  /// Credits were not used.
  mutating func returned(_ key: UInt64, _ credits: UInt16) {
    guard isOn else { return }
    let place = LeaseDemand.place(key)
    if entries[place].key == key { entries[place].covered -= min(credits, entries[place].covered) }
  }
}
