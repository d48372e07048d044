// SPDX-License-Identifier: Apache-2.0

import Wire

/// How requests were spread over the back-ends, from the servers' own logs.
public struct Placement: Sendable {
  /// Requests by node.
  public var requests: [String: Int] = [:]
  /// All requests, and the first ones of connections only: later requests go where their connection is.
  public var all = Locality()
  public var first = Locality()

  /// Whether a path goes where it went before.
  public struct Locality: Sendable {
    /// Requests for a path that had been asked for before.
    public var repeated = 0
    /// Those of them that went to the node that had got the path's last request.
    public var sameNode = 0
    private var last: [String: String] = [:]

    public init() {}

    /// Share of repeated requests that went where the same path went before; 1 when nothing was repeated.
    public var share: Double { repeated == 0 ? 1 : Double(sameNode) / Double(repeated) }

    mutating func count(_ path: String, _ node: String) {
      if let before = last.updateValue(node, forKey: path) {
        repeated += 1
        if before == node { sameNode += 1 }
      }
    }
  }

  /// - Parameter records: each node's log.
  public init(_ records: [String: [AccessRecord]], counting: (AccessRecord) -> Bool) {
    var merged: [(node: String, record: AccessRecord)] = []
    for (node, list) in records {
      let counted = list.filter(counting)
      requests[node] = counted.count
      merged += counted.map { (node, $0) }
    }
    merged.sort { $0.record.time < $1.record.time }
    var seen: Set<Endpoint> = []
    for (node, record) in merged {
      all.count(record.path, node)
      // A client's port that is used again counts as the old connection; that is rare.
      if seen.insert(record.client).inserted { first.count(record.path, node) }
    }
  }
}
