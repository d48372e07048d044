// SPDX-License-Identifier: Apache-2.0

import Lab

/// The files that all server nodes offer, and lists of paths for the load generator.
public struct Documents: Sendable {
  public static let seed: UInt64 = 7
  public let folder: String
  private let lists: String

  static let heavyTailed = Site.generate(seed: seed, pages: 2000, maximumSize: 4 << 20, maximumTotal: 60 << 20)

  /// Writes all files below a folder.
  init(below parent: String) throws(LabError) {
    folder = "\(parent)/documents"
    lists = "\(parent)/lists"
    var pages = Documents.heavyTailed.pages
    for workload in Workload.all {
      for page in Documents.pages(of: workload.content) where !pages.contains(page) { pages.append(page) }
    }
    try Cluster.writeDocuments(of: Site(seed: Documents.seed, pages: pages), to: folder)
    try Command.run(["mkdir", "-p", lists]).checked()
  }

  private static func pages(of content: Workload.Content) -> [Site.Page] {
    switch content {
    case .uniform(let size, let pages):
      (1...pages).map { Site.Page(path: "/uniform-\(size)/\($0).bin", size: size) }
    case .site: heavyTailed.pages
    }
  }

  /// Writes a list and returns the load generator's options for it.
  func options(for workload: Workload) throws(LabError) -> [String] {
    let pages = Documents.pages(of: workload.content)
    let list = try writeList(workload.name, pages)
    switch workload.content {
    case .uniform: return ["--paths", list]
    // Sizes are drawn at random, so the order of the list is as good as any for popularity.
    case .site: return ["--paths", list, "--choose", "zipf"]
    }
  }

  /// Small pages and the site, for a check of every byte.
  func verification() throws(LabError) -> [String] {
    let small = Workload.all.prefix(3).flatMap { Documents.pages(of: $0.content) }
    return ["--paths", try writeList("verification", small + Documents.heavyTailed.pages), "--choose", "uniform"]
  }

  func writeList(_ name: String, _ pages: [Site.Page]) throws(LabError) -> String {
    let file = "\(lists)/\(name)"
    try Cluster.write(pages.map { "\($0.path) \($0.size)\n" }.joined(), to: file)
    return file
  }

  func writeSequence(_ name: String, _ numbers: [Int]) throws(LabError) -> String {
    let file = "\(lists)/\(name)"
    try Cluster.write(numbers.map { "\($0)\n" }.joined(), to: file)
    return file
  }
}
