// SPDX-License-Identifier: Apache-2.0

/// A sequence of requests for targets of known size.
public struct Workload: Sendable {
  public var name: String
  /// Index into `sizes`, in the order of arrival.
  public var requests: [Int32]
  /// Bytes of each target.
  public var sizes: [Int]
  /// The same requests as persistent connections bring them.
  public var persistent = PersistentConnections()

  public init(name: String, requests: [Int32], sizes: [Int]) {
    self.name = name
    self.requests = requests
    self.sizes = sizes
  }

  /// Bytes of all targets that are asked for.
  public var footprint: Int { sizes.reduce(0, +) }

  /// Lines of tab-separated columns with a header that names `method`, `url`, `status` and `bytes`: GET requests answered
  /// 200. Targets of no bytes count as one.
  public static func accessLog(name: String, lines: some Sequence<Substring>) -> Workload {
    var workload = Workload(name: name, requests: [], sizes: [])
    var numbers: [Substring: Int32] = [:]
    var columns: [Substring: Int] = [:]
    var grouping = PersistentConnections.Grouping()
    for line in lines {
      let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
      if columns.isEmpty {
        for (index, field) in fields.enumerated() { columns[field] = index }
        continue
      }
      guard let url = columns["url"], let status = columns["status"], let bytes = columns["bytes"],
        fields.count > max(url, status, bytes), fields[status] == "200", let size = Int(fields[bytes])
      else { continue }
      if let method = columns["method"], fields[method] != "GET" { continue }
      workload.append(key: fields[url], size: size, &numbers)
      if let client = columns["client"], let time = columns["time_s"], fields.count > max(client, time) {
        grouping.add(
          request: workload.requests[workload.requests.count - 1], client: fields[client],
          time: Double(fields[time]) ?? 0)
      }
    }
    workload.persistent = grouping.finish()
    if workload.persistent.requests.count != workload.requests.count { workload.group(seed: 1) }
    return workload
  }

  /// Lines of ordinal, object id and size in bytes, separated by spaces or tabs.
  public static func objectLog(name: String, lines: some Sequence<Substring>) -> Workload {
    var workload = Workload(name: name, requests: [], sizes: [])
    var numbers: [Substring: Int32] = [:]
    for line in lines {
      let fields = line.split { $0 == " " || $0 == "\t" || $0 == "," }
      guard fields.count >= 3, let size = Int(fields[2]) else { continue }
      workload.append(key: fields[1], size: size, &numbers)
    }
    workload.group(seed: 1)
    return workload
  }

  /// For sequences that do not tell who asked: consecutive requests share a connection, five on average.
  private mutating func group(seed: UInt64) {
    persistent = PersistentConnections(requests: requests, mean: 5, seed: seed)
  }

  private mutating func append(key: Substring, size: Int, _ numbers: inout [Substring: Int32]) {
    let number: Int32
    if let known = numbers[key] {
      number = known
      sizes[Int(known)] = max(sizes[Int(known)], size)
    } else {
      number = Int32(sizes.count)
      numbers[key] = number
      sizes.append(max(1, size))
    }
    requests.append(number)
  }

  /// The same requests with a crowd in the middle third: so many of them, 0 to 1, are for one new target of 12,000 bytes.
  public func withFlashCrowd(_ share: Double, seed: UInt64) -> Workload {
    var random = Random(seed: seed)
    var result = self
    result.name += "-flash-crowd"
    result.sizes.append(12_000)
    for index in requests.count / 3..<2 * requests.count / 3 where random.unit() < share {
      result.requests[index] = Int32(sizes.count)
    }
    result.group(seed: seed)
    return result
  }

  /// What a generated workload looks like.
  public struct Shape: Sendable {
    public var targets = 5000
    public var requests = 100_000
    /// Popularity of rank r is r^-exponent.
    public var exponent = 0.8
    /// Mean size in bytes; sizes are exponential, at least 200.
    public var meanSize = 12_000
    /// Share of the requests of the middle third that are for one target, 0 to 1.
    public var flashCrowd = 0.0
    /// Ranks by which the popularity shifts from the first request to the last: a daily drift.
    public var drift = 0

    public init() {}
  }

  /// The same seed gives the same workload.
  public static func generated(name: String, _ shape: Shape, seed: UInt64) -> Workload {
    var random = Random(seed: seed)
    var cumulative: [Double] = []
    var sum = 0.0
    for rank in 1...shape.targets {
      sum += power(Double(rank), -shape.exponent)
      cumulative.append(sum)
    }
    let sizes = (0..<shape.targets).map { _ in max(200, Int(-logarithm(random.unit()) * Double(shape.meanSize))) }
    var requests: [Int32] = []
    for index in 0..<shape.requests {
      let isCrowd = index > shape.requests / 3 && index < 2 * shape.requests / 3 && random.unit() < shape.flashCrowd
      let point = random.unit() * sum
      var low = 0
      var high = cumulative.count - 1
      while low < high {
        let middle = (low + high) / 2
        if cumulative[middle] < point { low = middle + 1 } else { high = middle }
      }
      let shift = shape.drift * index / max(1, shape.requests)
      requests.append(isCrowd ? Int32(shape.targets - 1) : Int32((low + shift) % shape.targets))
    }
    var workload = Workload(name: name, requests: requests, sizes: sizes)
    workload.group(seed: seed)
    return workload
  }
}
