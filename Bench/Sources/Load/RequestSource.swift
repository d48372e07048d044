// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab

/// All requests of a plan as bytes, made once.
struct RequestTable: Sendable {
  private(set) var bytes: [UInt8] = []
  private(set) var ranges: [Range<Int>] = []

  init(_ plan: LoadPlan) {
    let host = plan.endpoints.first.map { "\($0)" } ?? "load"
    let last = plan.isKeptAlive ? "" : "Connection: close\r\n"
    for path in plan.paths {
      let start = bytes.count
      bytes += Array("GET \(path.path) HTTP/1.1\r\nHost: \(host)\r\n\(last)\r\n".utf8)
      ranges.append(start..<bytes.count)
    }
  }
}

/// Draws path numbers as a plan's choice says; one for each thread.
struct RequestChooser: Sendable {
  private enum Way: Sendable {
    case cycle
    case uniform
    case zipf(AliasTable)
    case sequence([Int32])
  }

  private let way: Way
  private let count: Int
  private let stride: Int
  private let hotShare: Double
  private var position: Int
  private var random: SeededRandom

  init(_ plan: LoadPlan, thread: Int) {
    count = plan.paths.count
    hotShare = plan.hotShare
    random = SeededRandom(seed: plan.seed &* 0x1_0001 &+ UInt64(thread) &+ 0x6c6f_6164)
    switch plan.choice {
    case .cycle:
      way = .cycle
      stride = 1
      position = count * thread / plan.threads
    case .uniform:
      way = .uniform
      stride = 0
      position = 0
    case .zipf(let exponent):
      way = .zipf(AliasTable(weights: (1...count).map { pow(Double($0), -exponent) }))
      stride = 0
      position = 0
    case .sequence(let order):
      way = .sequence(order)
      stride = plan.threads
      position = thread % order.count
    }
  }

  mutating func next() -> Int32 {
    if hotShare > 0, random.uniform() < hotShare { return 0 }
    switch way {
    case .cycle:
      defer { position = position + 1 == count ? 0 : position + 1 }
      return Int32(position)
    case .uniform: return Int32(random.next() % UInt64(count))
    case .zipf(let table): return table.draw(&random)
    case .sequence(let order):
      defer {
        position += stride
        if position >= order.count { position %= order.count }
      }
      return order[position]
    }
  }
}

/// Draws from a discrete distribution in constant time (Walker 1977, in the form of Vose 1991).
struct AliasTable: Sendable {
  private var threshold: [Double]
  private var alias: [Int32]

  init(weights: [Double]) {
    let sum = weights.reduce(0, +)
    threshold = weights.map { $0 * Double(weights.count) / sum }
    alias = weights.indices.map { Int32($0) }
    var small = threshold.indices.filter { threshold[$0] < 1 }
    var large = threshold.indices.filter { threshold[$0] >= 1 }
    while let less = small.popLast(), let more = large.last {
      alias[less] = Int32(more)
      threshold[more] -= 1 - threshold[less]
      if threshold[more] < 1 {
        large.removeLast()
        small.append(more)
      }
    }
  }

  func draw(_ random: inout SeededRandom) -> Int32 {
    let column = Int(random.next() % UInt64(threshold.count))
    return random.uniform() < threshold[column] ? Int32(column) : alias[column]
  }
}

/// A Poisson process: exponential times between arrivals.
struct Arrivals: Sendable {
  private let meanGap: Double
  private var random: SeededRandom
  /// When the next request arrives, in nanoseconds of the monotonic clock.
  private(set) var next: UInt64

  init(rate: Double, from start: UInt64, seed: UInt64) {
    meanGap = 1e9 / rate
    random = SeededRandom(seed: seed ^ 0x506f_6973)
    next = start
    advance()
  }

  mutating func advance() { next &+= UInt64(-log(1 - random.uniform()) * meanGap) }
}
