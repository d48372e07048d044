// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LinuxKernel
public import Wire

/// What a replay client shall ask for.
public struct ReplayPlan: Sendable, Codable {
  public var site: Site
  /// Page numbers asked for on each connection, in the order in which connections are opened.
  public var connections: [[Int]]
  /// `address:port` that are dialled in turn, as a client does with several DNS answers.
  public var endpoints: [String]
  /// Addresses to dial from, used in turn.
  public var sources: [String]
  /// Connections open at a time.
  public var concurrency: Int
  /// Seconds for a connection to stand, and for a request from its first to the answer's last byte.
  public var timeout = 15.0

  public init(
    site: Site, connections: [[Int]], endpoints: [Endpoint], sources: [IPAddress], concurrency: Int
  ) {
    self.site = site
    self.connections = connections
    self.endpoints = endpoints.map { "\($0)" }
    self.sources = sources.map { "\($0)" }
    self.concurrency = concurrency
  }

  public var requests: Int { connections.reduce(0) { $0 + $1.count } }

  /// Cuts a request stream into connections: a share of them carries several requests (4 on average), the rest one.
  public static func connections(
    of requests: [Int], keepAliveShare: Double, seed: UInt64
  ) -> [[Int]] {
    var random = SeededRandom(seed: seed ^ 0x6b65_6570)
    var connections: [[Int]] = []
    var index = 0
    while index < requests.count {
      var length = 1
      if random.uniform() < keepAliveShare {
        length = 2
        while random.uniform() < 2.0 / 3 { length += 1 }
      }
      let end = min(requests.count, index + length)
      connections.append(Array(requests[index..<end]))
      index = end
    }
    return connections
  }

  /// Reads `1.2.3.4:80` or `[fd77::1]:80`.
  static func endpoint(_ text: String) -> Endpoint? {
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { return nil }
    var host = text[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
    return IPAddress(String(host)).map { Endpoint($0, port) }
  }

  public func write(to path: String) throws(LabError) {
    do {
      try FileAccess.write(Array(try JSONEncoder().encode(self)), to: path)
    } catch {
      throw LabError("cannot write the replay plan: \(error)")
    }
  }

  public static func load(_ path: String) throws(LabError) -> ReplayPlan {
    do {
      return try JSONDecoder().decode(ReplayPlan.self, from: Data(try FileAccess.read(path)))
    } catch {
      throw LabError("cannot read the replay plan \(path): \(error)")
    }
  }
}
