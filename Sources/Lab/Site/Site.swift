// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The files that the lab's web servers offer. Contents follow from the seed, so that each byte of an answer can be
/// checked.
public struct Site: Hashable, Sendable, Codable {
  public struct Page: Hashable, Sendable, Codable {
    /// Absolute path, percent-encoded as in a request.
    public var path: String
    /// Bytes.
    public var size: Int

    public init(path: String, size: Int) {
      self.path = path
      self.size = size
    }
  }

  public var seed: UInt64
  public var pages: [Page]

  public init(seed: UInt64, pages: [Page]) {
    self.seed = seed
    self.pages = pages
  }

  public var totalBytes: Int { pages.reduce(0) { $0 + $1.size } }

  public func content(of page: Page) -> Content { Content(seed: seed, name: page.path) }

  /// A site with heavy-tailed sizes: a lognormal body (median 4 KB) and a Pareto tail (7 % of the pages, alpha 1.1) as
  /// measured for web files by Barford and Crovella (SIGMETRICS 1998), cut at `maximumSize` and scaled down when the
  /// sum is above `maximumTotal` bytes.
  public static func generate(
    seed: UInt64, pages count: Int = 2000, maximumSize: Int = 4 << 20, maximumTotal: Int = 150 << 20
  ) -> Site {
    var random = SeededRandom(seed: seed)
    let extensions = ["html", "css", "js", "png", "jpg", "bin"]
    let pages = (0..<count).map { index in
      let size =
        random.uniform() < 0.07
        ? 9_000 / pow(1 - random.uniform(), 1 / 1.1)
        : exp(log(4096) + 1.3 * random.normal())
      let kind = extensions[Int(random.next() % UInt64(extensions.count))]
      return Page(path: "/d\(index % 40)/page-\(index).\(kind)", size: Int(min(size, Double(maximumSize))))
    }
    return Site(seed: seed, pages: pages).bounded(to: maximumTotal)
  }

  /// The same site with all sizes scaled so that their sum does not pass `maximumTotal` bytes.
  func bounded(to maximumTotal: Int) -> Site {
    let total = totalBytes
    if total <= maximumTotal { return self }
    let factor = Double(maximumTotal) / Double(total)
    return Site(seed: seed, pages: pages.map { Page(path: $0.path, size: Int(Double($0.size) * factor)) })
  }
}

/// Draws page numbers with Zipf's popularity: rank r has weight 1 / r^exponent.
public struct ZipfStream: Sendable {
  private var random: SeededRandom
  private let cumulative: [Double]
  private let pageOfRank: [Int]

  /// - Parameter exponent: 0.6 to 1.0 fits web traces (Breslau et al., INFOCOM 1999).
  public init(seed: UInt64, pages: Int, exponent: Double = 0.9) {
    random = SeededRandom(seed: seed ^ 0x5a69_7066)
    var sum = 0.0
    cumulative = (1...pages).map { rank in
      sum += pow(Double(rank), -exponent)
      return sum
    }
    // Popularity is independent of size.
    pageOfRank = (0..<pages).shuffled(using: &random)
  }

  public mutating func next() -> Int {
    let point = random.uniform() * (cumulative.last ?? 0)
    var low = 0
    var high = cumulative.count - 1
    while low < high {
      let middle = (low + high) / 2
      if cumulative[middle] > point { high = middle } else { low = middle + 1 }
    }
    return pageOfRank[low]
  }
}
