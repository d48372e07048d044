// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

/// A recorded request stream: tab-separated columns time_s, client, method, url, status, bytes, with a header line.
public struct Trace: Sendable {
  public var site: Site
  /// Page numbers in the order of the trace.
  public var requests: [Int]

  /// Keeps GET requests that were answered 200 with at least one byte.
  ///
  /// A URL's page is as long as its longest answer. Names of the trace may not be possible as files (a page and a
  /// folder of the same name), so page n is offered as `/trace/n-NAME` with the last component of its URL.
  ///
  /// - Parameter maximumTotal: sizes are scaled down when their sum in bytes is above this.
  public static func parse(_ text: String, seed: UInt64, maximumTotal: Int = 150 << 20) throws(LabError) -> Trace {
    var numbers: [Substring: Int] = [:]
    var pages: [Site.Page] = []
    var requests: [Int] = []
    for (index, line) in text.split(separator: "\n").enumerated() where index > 0 {
      let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
      guard fields.count >= 6 else {
        throw LabError("line \(index + 1) of the trace has \(fields.count) columns instead of 6: \(line)")
      }
      guard fields[2] == "GET", fields[4] == "200", let size = Int(fields[5]), size > 0 else { continue }
      if let number = numbers[fields[3]] {
        pages[number].size = max(pages[number].size, size)
        requests.append(number)
      } else {
        numbers[fields[3]] = pages.count
        requests.append(pages.count)
        pages.append(.init(path: "/trace/\(pages.count)-\(name(of: fields[3]))", size: size))
      }
    }
    guard !requests.isEmpty else { throw LabError("the trace holds no GET that was answered 200") }
    return Trace(site: Site(seed: seed, pages: pages).bounded(to: maximumTotal), requests: requests)
  }

  public static func load(_ path: String, seed: UInt64, maximumTotal: Int = 150 << 20) throws(LabError) -> Trace {
    let bytes: [UInt8]
    do {
      bytes = try FileAccess.read(path)
    } catch {
      throw LabError("cannot read the trace: \(error)")
    }
    return try parse(String(decoding: bytes, as: UTF8.self), seed: seed, maximumTotal: maximumTotal)
  }

  private static func name(of url: Substring) -> String {
    let last = url.split(separator: "/").last ?? "index"
    let kept = last.utf8.prefix(40).map { byte -> UInt8 in
      let isPlain =
        (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
        || byte == UInt8(ascii: ".")
      return isPlain ? byte : UInt8(ascii: "-")
    }
    return String(decoding: kept, as: UTF8.self)
  }
}
