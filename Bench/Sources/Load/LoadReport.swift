// SPDX-License-Identifier: Apache-2.0

/// What a load generator saw. Every request that was begun is in `requests` or in `failures`.
public struct LoadReport: Sendable, Codable, Hashable {
  /// Ways in which a request fails.
  public enum Failure: String, Sendable, Codable, CaseIterable {
    /// The connection was refused, or no route or port was left.
    case connect
    case connectTimeout = "connect_timeout"
    /// Reset by the peer.
    case reset
    /// The connection ended before the answer was complete.
    case closedEarly = "closed_early"
    case timeout
    /// Another status than 200.
    case status
    /// No HTTP, or a body without Content-Length.
    case malformed
    /// A body of the wrong length or with a wrong byte.
    case content
    /// This process or its peer is out of descriptors.
    case descriptors
    /// Open loop: arrivals that had not been sent when the run ended. Hold: connections for which there was no time.
    case unsent
  }

  /// Answered with status 200 and read to the end.
  public var requests = 0
  public var failures: [String: Int] = [:]
  /// Status codes other than 200.
  public var statuses: [String: Int] = [:]
  /// Connections that were established.
  public var connections = 0
  /// Kept-alive connections that ended between two requests; the request went out on a new one (RFC 9112 section 9.3.1).
  public var reconnects = 0
  /// Body bytes.
  public var bytes = 0
  /// Body bytes that were compared with the site.
  public var verifiedBytes = 0
  /// Connections open at the end.
  public var open = 0
  /// Seconds from the first request to the last answer; the time for which connections are held is not in it.
  public var seconds = 0.0
  /// User and system time of this process, in seconds.
  public var cpuSeconds = 0.0
  public var threads = 0
  /// From the intended start of the request (its arrival in an open loop) to the last byte of its answer, connection
  /// establishment included.
  public var latency = Histogram()
  /// From connect to the established connection.
  public var connectTime = Histogram()
  /// From the intended start to the first byte of the answer.
  public var firstByte = Histogram()
  /// Open loop: how late the generator itself was, from an arrival to the turn of the loop that took it up.
  public var lateness = Histogram()

  public init() {}

  enum CodingKeys: String, CodingKey {
    case requests, failures, statuses, connections, reconnects, bytes, open, seconds, threads, latency, lateness
    case verifiedBytes = "verified_bytes"
    case cpuSeconds = "cpu_seconds"
    case connectTime = "connect_time"
    case firstByte = "first_byte"
  }

  public var failed: Int { failures.values.reduce(0, +) }
  public var requestsPerSecond: Double { seconds > 0 ? Double(requests) / seconds : 0 }
  /// Share of the threads' time that this process used: near 1 the generator was the limit.
  public var ownShare: Double { seconds > 0 && threads > 0 ? cpuSeconds / seconds / Double(threads) : 0 }
  /// Microseconds of this process for each request; the kernel charges to it most of what its packets cause.
  public var ownMicroseconds: Double { requests > 0 ? cpuSeconds * 1e6 / Double(requests) : 0 }

  mutating func fail(_ kind: Failure, count: Int = 1) { failures[kind.rawValue, default: 0] += count }

  /// Adds what another thread or process saw at the same time.
  public mutating func merge(_ other: LoadReport) {
    requests += other.requests
    failures.merge(other.failures, uniquingKeysWith: +)
    statuses.merge(other.statuses, uniquingKeysWith: +)
    connections += other.connections
    reconnects += other.reconnects
    bytes += other.bytes
    verifiedBytes += other.verifiedBytes
    open += other.open
    seconds = max(seconds, other.seconds)
    cpuSeconds += other.cpuSeconds
    threads += other.threads
    latency.merge(other.latency)
    connectTime.merge(other.connectTime)
    firstByte.merge(other.firstByte)
    lateness.merge(other.lateness)
  }
}
