// SPDX-License-Identifier: Apache-2.0

public import Wire

/// What a load generator shall do.
public struct LoadPlan: Sendable {
  /// When requests are sent.
  public enum Pace: Sendable, Hashable {
    /// Closed loop: the next request follows the answer to the one before.
    case closed
    /// Open loop: requests arrive as a Poisson process, this many per second over all threads, whatever becomes of those
    /// before. Latency counts from the arrival, also when the request has to wait for a free connection.
    case open(rate: Double)
    /// Every connection carries one request, then stays open and idle until the end, which `seconds` after the last one
    /// was opened or a `LoadStop` brings.
    case hold
  }

  /// Which of the paths is asked for next.
  public enum Choice: Sendable, Hashable {
    /// One after the other, each thread from another place on.
    case cycle
    case uniform
    /// Rank r (the place in the list) has weight 1 / r^exponent.
    case zipf(exponent: Double)
    /// A recorded order: numbers of paths, from the beginning again at the end. Threads take turns.
    case sequence([Int32])
  }

  /// One path of the site.
  public struct Path: Sendable, Hashable {
    public var path: String
    /// Bytes of the body; only needed to verify.
    public var size: Int

    public init(path: String, size: Int = 0) {
      self.path = path
      self.size = size
    }
  }

  /// Where to connect, in turn.
  public var endpoints: [Endpoint]
  /// Addresses to connect from, in turn; empty leaves that to the kernel.
  public var sources: [IPAddress] = []
  /// Each endpoint is dialled from one source only: with as many sources as endpoints no port of a source is in use twice.
  public var pairsSources = false
  public var paths: [Path]
  public var choice = Choice.cycle
  /// This share of the requests goes to the first path instead.
  public var hotShare = 0.0
  public var pace = Pace.closed
  public var threads = 1
  /// Open at a time, over all threads.
  public var connections = 32
  public var isKeptAlive = false
  /// Requests sent at once on a kept-alive connection.
  public var pipeline = 1
  /// Ends after so many seconds,
  public var seconds = 10.0
  /// or after so many requests, if that is sooner.
  public var requests: Int?
  /// Seconds for a connection to stand, and for an answer to be complete.
  public var timeout = 10.0
  /// Seconds that a `hold` plan may take to open its connections; those that are not open by then are `unsent`.
  public var openWithin = 60.0
  /// The site's seed: every body is compared byte by byte with what the site holds. Nil discards bodies in the kernel.
  public var verifiedSeed: UInt64?
  /// Of arrivals and choices.
  public var seed: UInt64 = 1

  public init(endpoints: [Endpoint], paths: [Path]) {
    self.endpoints = endpoints
    self.paths = paths
  }

  /// What is wrong with the plan, in words; nil when it can be run.
  public var complaint: String? {
    if endpoints.isEmpty { return "no endpoint to connect to" }
    if paths.isEmpty { return "no path to ask for" }
    if threads < 1 || connections < threads { return "at least one thread, and one connection for each, is needed" }
    if pipeline < 1 || pipeline > 64 { return "the pipelining depth must be 1 to 64" }
    if pipeline > 1, !isKeptAlive || pace != .closed {
      return "pipelining needs kept-alive connections and a closed loop"
    }
    if case .open(let rate) = pace, !(rate > 0) { return "the rate must be positive" }
    if case .sequence(let order) = choice {
      if order.isEmpty { return "the sequence is empty" }
      if order.contains(where: { !paths.indices.contains(Int($0)) }) { return "the sequence names no such path" }
    }
    for endpoint in endpoints where !sources.isEmpty {
      if !sources.contains(where: { $0.isIPv4 == endpoint.address.isIPv4 }) {
        return "no source address for \(endpoint)"
      }
    }
    return nil
  }
}
