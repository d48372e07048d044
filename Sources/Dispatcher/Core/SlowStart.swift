// SPDX-License-Identifier: Apache-2.0

/// Nodes that joined a running cluster with a cold cache: their weight grows in 16 steps. Whoever is least loaded gets every
/// new and every moved target; without a ramp a cold node would get them all at once, and miss on all of them.
struct SlowStart: Sendable {
  static let steps: UInt64 = 16

  private let duration: UInt64
  /// When the first node came: in the first `duration` everybody is cold, and nobody is spared.
  private var clusterStart: UInt64?
  private var begun = [UInt64](repeating: 0, count: BackEndSet.capacity)
  private(set) var warming = BackEndSet()
  private(set) var nextStep: UInt64?

  init(duration: UInt64) { self.duration = duration }

  /// A node comes up; returns its ramp in 1/256.
  mutating func begin(_ index: Int, now: UInt64, othersAreUp: Bool) -> UInt32 {
    let start = clusterStart ?? now
    clusterStart = start
    guard duration > 0, othersAreUp, now - start >= duration else {
      warming.remove(index)
      return 256
    }
    begun[index] = now
    warming.insert(index)
    schedule(now)
    return ramp(index, now)
  }

  mutating func end(_ index: Int) {
    warming.remove(index)
    if warming.isEmpty { nextStep = nil }
  }

  /// Ramps that are due to change.
  mutating func advance(to now: UInt64) -> [(index: Int, ramp: UInt32)] {
    guard let due = nextStep, now >= due else { return [] }
    var changes: [(index: Int, ramp: UInt32)] = []
    var rest = warming
    while !rest.isEmpty {
      let index = rest.popFirst()
      let ramp = ramp(index, now)
      changes.append((index, ramp))
      if ramp >= 256 { warming.remove(index) }
    }
    schedule(now)
    return changes
  }

  private mutating func schedule(_ now: UInt64) {
    nextStep = warming.isEmpty ? nil : now + max(1, duration / SlowStart.steps)
  }

  private func ramp(_ index: Int, _ now: UInt64) -> UInt32 {
    let step = min(SlowStart.steps - 1, (now - begun[index]) * SlowStart.steps / duration)
    return now - begun[index] >= duration ? 256 : UInt32((step + 1) * 256 / SlowStart.steps)
  }
}
