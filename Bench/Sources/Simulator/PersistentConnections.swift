// SPDX-License-Identifier: Apache-2.0

/// Requests in groups, each of which comes on one persistent connection, in the order in which the connections begin.
public struct PersistentConnections: Sendable {
  /// Targets; those of one connection stand together.
  public var requests: [Int32] = []
  /// Positions in `requests`.
  public var connections: [Range<Int>] = []

  public init() {}

  /// Every request on a connection of its own.
  init(single requests: [Int32]) {
    self.requests = requests
    connections = requests.indices.map { $0..<$0 + 1 }
  }

  /// Groups of geometrically distributed length.
  init(requests: [Int32], mean: Double, seed: UInt64) {
    self.requests = requests
    var random = Random(seed: seed)
    var start = 0
    while start < requests.count {
      var end = start + 1
      while end < requests.count, random.unit() > 1 / mean { end += 1 }
      connections.append(start..<end)
      start = end
    }
  }

  /// Groups what a client asks for with pauses of less than 15 s: the idle timeout of servers that the P-HTTP paper assumes.
  struct Grouping {
    private var groups: [[Int32]] = []
    private var open: [Substring: (group: Int, last: Double)] = [:]

    mutating func add(request: Int32, client: Substring, time: Double) {
      if let known = open[client], time - known.last < 15 {
        groups[known.group].append(request)
        open[client]?.last = time
      } else {
        open[client] = (groups.count, time)
        groups.append([request])
      }
    }

    func finish() -> PersistentConnections {
      var result = PersistentConnections()
      for group in groups {
        let start = result.requests.count
        result.requests += group
        result.connections.append(start..<result.requests.count)
      }
      return result
    }
  }
}
