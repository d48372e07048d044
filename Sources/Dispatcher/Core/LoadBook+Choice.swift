// SPDX-License-Identifier: Apache-2.0

extension LoadBook {
  /// The member with the least relative load. Equal loads are decided by a hash of target and node, so that an idle
  /// cluster spreads targets over all nodes and decides alike after a restart.
  ///
  /// - Precondition: `set` is not empty.
  @inline(__always)
  func leastLoaded(of set: BackEndSet, target: UInt64) -> Int {
    var rest = set
    var best = rest.popFirst()
    var bestLoad = relative[best]
    while !rest.isEmpty {
      let index = rest.popFirst()
      let load = relative[index]
      if load < bestLoad || (load == bestLoad && LoadBook.prefers(index, to: best, target: target)) {
        best = index
        bestLoad = load
      }
    }
    return best
  }

  /// The member that ranks first for the target among those whose load is below `threshold`.
  func preferred(of set: BackEndSet, target: UInt64, below threshold: RelativeLoad) -> Int? {
    var rest = set
    var best: (index: Int, rank: UInt64)?
    while !rest.isEmpty {
      let index = rest.popFirst()
      guard relative[index] < threshold else { continue }
      let rank = LoadBook.rank(index, target)
      if best == nil || rank > best!.rank { best = (index, rank) }
    }
    return best?.index
  }

  /// Load of the whole cluster per capacity, rounded up: nobody is below it only when all are equal.
  var averageLoad: RelativeLoad {
    RelativeLoad(rawValue: ((total &+ 1) << 16) &* 100 / max(1, totalWeight))
  }

  /// The member with the most relative load; of equals the first.
  @inline(__always)
  func mostLoaded(of set: BackEndSet) -> Int {
    var rest = set
    var worst = rest.popFirst()
    while !rest.isEmpty {
      let index = rest.popFirst()
      if relative[worst] < relative[index] { worst = index }
    }
    return worst
  }

  /// Whether a member's load is below `threshold`.
  @inline(__always)
  func hasMember(of set: BackEndSet, below threshold: RelativeLoad) -> Bool {
    var rest = set
    while !rest.isEmpty {
      if relative[rest.popFirst()] < threshold { return true }
    }
    return false
  }

  /// Rendezvous order (highest random weight) of two nodes for a target.
  @inline(__always)
  private static func prefers(_ left: Int, to right: Int, target: UInt64) -> Bool {
    rank(left, target) > rank(right, target)
  }

  @inline(__always)
  private static func rank(_ index: Int, _ target: UInt64) -> UInt64 {
    var value = (target ^ (UInt64(index) &+ 1) &* 0x9e37_79b9_7f4a_7c15) &* 0xff51_afd7_ed55_8ccd
    value ^= value >> 32
    return value &* 0xc4ce_b9fe_1a85_ec53
  }
}
