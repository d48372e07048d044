// SPDX-License-Identifier: Apache-2.0

import Lab
import Testing

@Suite struct SiteTests {
  @Test func contentIsTheSameFromEveryOffset() {
    let content = Content(seed: 1, name: "/a")
    let whole = content.bytes(from: 0, count: 1000)
    for (offset, count) in [(0, 1), (1, 7), (7, 9), (8, 8), (500, 500), (999, 1), (13, 0)] {
      #expect(content.bytes(from: offset, count: count) == Array(whole[offset..<offset + count]))
      #expect(content.firstDifference(Array(whole[offset..<offset + count]).span, at: offset) == nil)
    }
    #expect(Content(seed: 1, name: "/b").bytes(from: 0, count: 100) != Array(whole[..<100]))
    #expect(Content(seed: 2, name: "/a").bytes(from: 0, count: 100) != Array(whole[..<100]))
  }

  @Test func everyWrongByteIsFound() {
    let content = Content(seed: 1, name: "/a")
    for offset in [0, 3, 8] {
      for wrong in 0..<40 {
        var bytes = content.bytes(from: offset, count: 40)
        bytes[wrong] ^= 1
        #expect(content.firstDifference(bytes.span, at: offset) == offset + wrong)
      }
    }
  }

  @Test func aSiteFollowsFromItsSeed() {
    let site = Site.generate(seed: 1)
    #expect(site == Site.generate(seed: 1))
    #expect(site != Site.generate(seed: 2))
    #expect(site.pages.count == 2000)
    #expect(Set(site.pages.map(\.path)).count == 2000)
    let sizes = site.pages.map(\.size).sorted()
    #expect((3000...7000).contains(sizes[1000]), "median \(sizes[1000])")
    // Heavy tail: the largest 7 % hold more than the rest.
    #expect(sizes.suffix(140).reduce(0, +) > sizes.dropLast(140).reduce(0, +))
    #expect(Site.generate(seed: 1, maximumTotal: 1 << 20).totalBytes <= 1 << 20)
  }

  @Test func popularityIsZipf() {
    var stream = ZipfStream(seed: 1, pages: 1000, exponent: 1)
    var counts: [Int: Int] = [:]
    for _ in 0..<100_000 { counts[stream.next(), default: 0] += 1 }
    let ranked = counts.values.sorted(by: >)
    // 1 / H(1000) = 0.1336 of the requests go to the first rank, a tenth of that to the tenth.
    #expect((12_400...14_400).contains(ranked[0]), "\(ranked[0])")
    #expect((1_150...1_550).contains(ranked[9]), "\(ranked[9])")
  }

  @Test func aTraceKeepsWhatWasServed() throws {
    let text = """
      time_s\tclient\tmethod\turl\tstatus\tbytes
      1\t0\tGET\t/a/logo.gif\t200\t100
      2\t1\tGET\t/a/\t200\t50
      3\t1\tPOST\t/cgi\t200\t5
      4\t1\tGET\t/gone\t404\t5
      5\t2\tGET\t/a/logo.gif\t200\t120
      6\t2\tGET\t/a/x?y=z\t304\t0
      """
    let trace = try Trace.parse(text, seed: 1)
    #expect(trace.requests == [0, 1, 0])
    #expect(trace.site.pages.map(\.path) == ["/trace/0-logo.gif", "/trace/1-a"])
    #expect(trace.site.pages.map(\.size) == [120, 50])
    #expect(try Trace.parse(text, seed: 1, maximumTotal: 85).site.totalBytes <= 85)
    #expect(throws: LabError.self) { try Trace.parse("head\n1\t2\n", seed: 1) }
    #expect(throws: LabError.self) { try Trace.parse("head\n", seed: 1) }
  }

  @Test func everyRequestIsOnOneConnection() {
    let requests = (0..<1000).map { $0 }
    let connections = ReplayPlan.connections(of: requests, keepAliveShare: 0.5, seed: 9)
    #expect(connections.flatMap { $0 } == requests)
    let several = connections.filter { $0.count > 1 }
    #expect((0.4...0.6).contains(Double(several.count) / Double(connections.count)))
    #expect(ReplayPlan.connections(of: requests, keepAliveShare: 0, seed: 9).count == 1000)
  }
}
