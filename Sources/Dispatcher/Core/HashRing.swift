// SPDX-License-Identifier: Apache-2.0

/// A consistent-hashing ring (Karger et al. 1997) with points in proportion to weight. Rebuilt when members change, which
/// moves only the targets of the changed member.
public struct HashRing: Sendable {
  /// One member: its index, weight, and a number that depends on its name only, so that its points are the same whatever
  /// the order in which nodes join.
  public struct Member: Hashable, Sendable, BitwiseCopyable {
    public var index: Int
    public var weight: UInt32
    public var seed: UInt64

    public init(index: Int, weight: UInt32, seed: UInt64) {
      self.index = index
      self.weight = weight
      self.seed = seed
    }
  }

  private struct Point: Sendable, BitwiseCopyable {
    var position: UInt64
    var index: Int32
  }

  /// Points of a node of weight 100. With 160 the shares of equal nodes differ by about 8 % (1/sqrt(160)).
  static let pointsOfAverageNode = 160
  private static let maximumPointsPerNode = 16_000

  private var points: [Point] = []

  public init() {}

  public init(_ members: [Member]) {
    for member in members where member.weight > 0 {
      let wanted = Int(member.weight) * HashRing.pointsOfAverageNode / 100
      for replica in 0..<min(max(1, wanted), HashRing.maximumPointsPerNode) {
        let position = HashRing.mix(member.seed &+ UInt64(replica) &* 0x9e37_79b9_7f4a_7c15)
        points.append(Point(position: position, index: Int32(member.index)))
      }
    }
    points.sort { ($0.position, $0.index) < ($1.position, $1.index) }
  }

  /// Walks the ring from `position` and returns the first member of `candidates` that `accepts` takes, with whether it is
  /// the first node met at all; nil when it takes none.
  @inline(__always)
  func walk(
    from position: UInt64, candidates: BackEndSet, _ accepts: (Int) -> Bool
  ) -> (index: Int, isFirst: Bool)? {
    guard !points.isEmpty else { return nil }
    var next = firstPoint(at: position)
    var untried = candidates
    var isFirst = true
    for _ in 0..<points.count where !untried.isEmpty {
      let index = Int(points[next].index)
      if untried.contains(index) {
        if accepts(index) { return (index, isFirst) }
        untried.remove(index)
      }
      isFirst = false
      next += 1
      if next == points.count { next = 0 }
    }
    return nil
  }

  private func firstPoint(at position: UInt64) -> Int {
    var low = 0
    var high = points.count
    while low < high {
      let middle = (low + high) / 2
      if points[middle].position < position { low = middle + 1 } else { high = middle }
    }
    return low == points.count ? 0 : low
  }

  /// splitmix64's finalizer.
  static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  /// A number for a node name.
  static func seed(of name: String) -> UInt64 {
    // FNV-1a, then mixed: equal on every run, unlike the standard library's seeded hash.
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    return mix(hash)
  }
}
