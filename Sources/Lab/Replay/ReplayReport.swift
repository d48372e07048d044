// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LinuxKernel

/// What a replay client saw.
public struct ReplayReport: Sendable, Codable {
  /// Ways in which a request fails.
  public enum Failure: String, Sendable, Codable, CaseIterable {
    case connectRefused
    case connectTimeout
    case connectionReset
    case closedEarly
    case timeout
    case badStatus
    case badHead
    case badLength
    case badContent
    /// The connection failed before this request could be sent on it.
    case notSent
  }

  public var requests = 0
  public var failures: [String: Int] = [:]
  /// The first few failures in words.
  public var examples: [String] = []
  /// Body bytes received and found right.
  public var bytes = 0
  public var connections = 0
  /// Connections opened again because the server had announced the end of one.
  public var reconnects = 0
  public var seconds = 0.0
  /// Microseconds.
  public var connectTime = Latencies()
  /// From the request's first byte sent to the answer's first byte received; microseconds.
  public var firstByteTime = Latencies()
  /// From the request's first byte sent to the answer's last byte received; microseconds.
  public var requestTime = Latencies()

  public init() {}

  public var failed: Int { failures.values.reduce(0, +) }

  mutating func fail(_ kind: Failure, _ text: String, count: Int = 1) {
    guard count > 0 else { return }
    failures[kind.rawValue, default: 0] += count
    if examples.count < 10 { examples.append("\(kind.rawValue): \(text)") }
  }

  public func write(to path: String) throws(LabError) {
    do {
      try FileAccess.write(Array(try JSONEncoder().encode(self)), to: path)
    } catch {
      throw LabError("cannot write the replay report: \(error)")
    }
  }

  public static func load(_ path: String) throws(LabError) -> ReplayReport {
    do {
      return try JSONDecoder().decode(ReplayReport.self, from: Data(try FileAccess.read(path)))
    } catch {
      throw LabError("cannot read the replay report \(path): \(error)")
    }
  }
}

/// Durations in microseconds, all of them: exact quantiles.
public struct Latencies: Sendable, Codable {
  private var values: [UInt32] = []

  public init() {}

  public var count: Int { values.count }

  public mutating func add(nanoseconds: UInt64) { values.append(UInt32(clamping: nanoseconds / 1000)) }

  /// Nearest-rank quantiles in the order asked for; zeros when nothing was observed.
  public func quantiles(_ wanted: [Double]) -> [Int] {
    guard !values.isEmpty else { return wanted.map { _ in 0 } }
    let sorted = values.sorted()
    return wanted.map { quantile in
      let rank = Int((quantile * Double(sorted.count)).rounded(.up))
      return Int(sorted[min(sorted.count, max(1, rank)) - 1])
    }
  }

  public func quantile(_ wanted: Double) -> Int { quantiles([wanted])[0] }
}
