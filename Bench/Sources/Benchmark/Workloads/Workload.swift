// SPDX-License-Identifier: Apache-2.0

/// What clients do in one measurement.
public struct Workload: Sendable {
  /// When requests are sent.
  public enum Pace: Sendable {
    /// As fast as answers come.
    case closed
    /// As a Poisson process, at this share of what the reference reached in the closed loop of `new-8KB`: the same rate for
    /// every system.
    case open(shareOfDirect: Double)
  }

  public var name: String
  public var title: String
  /// Paths below the documents, and how they are chosen.
  public var content: Content
  public var isKeptAlive = false
  /// Open at a time.
  public var connections = 32
  public var pace = Pace.closed
  /// The links have no segmentation and checksum offload.
  public var isWithoutOffloads = false
  /// How many times as long as others this is measured.
  public var length = 1.0

  /// What systems say of the workloads that are not in `all`.
  static let cacheGroup = "cache"
  static let idleGroup = "idle"

  /// The name without what is said about the links.
  var base: String { isWithoutOffloads ? String(name.dropLast(Self.suffix.count)) : name }
  private static let suffix = "-no-offloads"

  var withoutOffloads: Workload {
    var workload = self
    workload.name += Self.suffix
    workload.title += ", links without offloads"
    workload.isWithoutOffloads = true
    return workload
  }

  public enum Content: Sendable {
    /// `pages` files of `size` bytes, one after the other.
    case uniform(size: Int, pages: Int)
    /// Files of heavy-tailed sizes with Zipf's popularity.
    case site
  }

  public static let all = [
    Workload(name: "new-128B", title: "new connection, 128 B", content: .uniform(size: 128, pages: 64)),
    Workload(name: "new-8KB", title: "new connection, 8 KB", content: .uniform(size: 8 << 10, pages: 64)),
    Workload(
      name: "kept-alive-1KB", title: "kept alive, 1 KB", content: .uniform(size: 1 << 10, pages: 64), isKeptAlive: true),
    Workload(
      name: "bulk-1MB", title: "new connection, 1 MB", content: .uniform(size: 1 << 20, pages: 16), connections: 8),
    Workload(
      name: "bulk-16MB", title: "new connection, 16 MB", content: .uniform(size: 16 << 20, pages: 4), connections: 4,
      length: 1.5),
    Workload(name: "site", title: "site with heavy-tailed sizes, new connections", content: .site),
    Workload(
      name: "paced-8KB", title: "open loop (Poisson), new connection, 8 KB",
      content: .uniform(size: 8 << 10, pages: 64),
      connections: 256, pace: .open(shareOfDirect: 0.2)),
  ]
}
