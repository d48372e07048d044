// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Wire

/// The files that tests ask for.
enum TestSite {
  static let seed: UInt64 = 20_261_121
  static let site: Site = {
    var site = Site.generate(seed: seed, pages: 200, maximumSize: 1 << 20, maximumTotal: 8 << 20)
    site.pages.append(empty)
    site.pages.append(medium)
    return site
  }()

  static let empty = Site.Page(path: "/fixed/empty.bin", size: 0)
  /// More than a send buffer at first holds, less than a second of any network.
  static let medium = Site.Page(path: "/fixed/medium.bin", size: 3_000_017)
  static var small: Site.Page { site.pages[11] }

  static func bytes(of page: Site.Page) -> [UInt8] {
    site.content(of: page).bytes(from: 0, count: page.size)
  }

  static let assets = 30

  /// A page whose images, styles and scripts are counted by a script when they have loaded.
  static func addFixtures(to cluster: Cluster) throws {
    let folder = "\(cluster.documentRoot)/page"
    try Command.run(["mkdir", "-p", folder]).checked()
    var tags = ""
    for index in 0..<assets {
      let attributes = "onload='count()' onerror='count(\"failed \(index)\")'"
      switch index % 3 {
      case 0:
        tags += "<img src='\(index).svg' \(attributes)>\n"
        try write("<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'><!--\(filler)--></svg>", "\(index).svg")
      case 1:
        tags += "<link rel='stylesheet' href='\(index).css' \(attributes)>\n"
        try write(".c\(index) { color: #123456; } /* \(filler) */\n", "\(index).css")
      default:
        tags += "<script src='\(index).js' \(attributes)></script>\n"
        try write("var v\(index) = \(index); /* \(filler) */\n", "\(index).js")
      }
    }
    try write(
      """
      <!doctype html><meta charset='utf-8'><title>assets</title>
      <script>var done = 0, bad = []; function count(text) {
        done += 1; if (text) bad.push(text);
        if (done == \(assets)) document.title = 'loaded ' + done + ' bad ' + bad.length;
      }</script>
      <body>\n\(tags)</body>
      """, "index.html")

    func write(_ text: String, _ name: String) throws {
      try FileAccess.write(Array(text.utf8), to: "\(folder)/\(name)")
    }
  }

  /// Makes each asset several segments long.
  private static let filler = String(repeating: "0123456789abcdef", count: 400)
}

/// `HANDOFF_LARGE_MB=1024` makes the large transfers one gigabyte.
enum Large {
  static let megabytes = Int(ProcessEnvironment.values["HANDOFF_LARGE_MB"] ?? "") ?? 100
}
