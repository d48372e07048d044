// SPDX-License-Identifier: Apache-2.0

extension IPAddress: CustomStringConvertible, LosslessStringConvertible {
  /// Parses `192.0.2.1` or the text forms of RFC 4291 section 2.2 (no zone). `::ffff:192.0.2.1` is 192.0.2.1.
  public init?(_ text: String) {
    if text.contains(":") {
      guard let address = IPAddress.parseIPv6(Substring(text)) else { return nil }
      self = address
    } else {
      guard let bits = IPAddress.parseIPv4(Substring(text)) else { return nil }
      self.init(ipv4: bits)
    }
  }

  private static func parseIPv4(_ text: Substring) -> UInt32? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var bits: UInt32 = 0
    for part in parts {
      // A leading zero would be octal to inet_aton and decimal to inet_pton: refuse it.
      guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
        part.utf8.count == 1 || part.utf8.first != 0x30, let byte = UInt8(part)
      else { return nil }
      bits = bits << 8 | UInt32(byte)
    }
    return bits
  }

  private static func parseIPv6(_ text: Substring) -> IPAddress? {
    let halves = text.split(separator: "::", maxSplits: 2, omittingEmptySubsequences: false)
    guard halves.count <= 2, let head = groups(halves[0], mayEndInIPv4: halves.count == 1) else { return nil }
    var groups = head
    if halves.count == 2 {
      guard let tail = IPAddress.groups(halves[1], mayEndInIPv4: true), head.count + tail.count <= 7 else { return nil }
      groups += Array(repeating: 0, count: 8 - head.count - tail.count) + tail
    }
    guard groups.count == 8 else { return nil }
    let high = groups[0..<4].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
    let low = groups[4..<8].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
    return IPAddress(high: high, low: low)
  }

  private static func groups(_ text: Substring, mayEndInIPv4: Bool) -> [UInt16]? {
    if text.isEmpty { return [] }
    var result: [UInt16] = []
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    for (index, part) in parts.enumerated() {
      if mayEndInIPv4, index == parts.count - 1, part.contains(".") {
        guard let bits = parseIPv4(part) else { return nil }
        result.append(UInt16(bits >> 16))
        result.append(UInt16(truncatingIfNeeded: bits))
      } else {
        guard (1...4).contains(part.utf8.count), part.isHexadecimal, let group = UInt16(part, radix: 16) else {
          return nil
        }
        result.append(group)
      }
    }
    return result
  }

  /// Dotted decimal, or the canonical IPv6 form of RFC 5952.
  public var description: String {
    if isIPv4 {
      let bits = ipv4Bits
      return "\(bits >> 24).\(bits >> 16 & 255).\(bits >> 8 & 255).\(bits & 255)"
    }
    let groups = (0..<8).map { UInt16(truncatingIfNeeded: ($0 < 4 ? high : low) >> UInt64((3 - $0 % 4) * 16)) }
    var best: Range<Int> = 0..<0
    var start = 0
    while start < 8 {
      var end = start
      while end < 8, groups[end] == 0 { end += 1 }
      // RFC 5952 section 4.2.2: a single zero group is not shortened; of equal runs the first is.
      if end - start >= 2, end - start > best.count { best = start..<end }
      start = max(end, start + 1)
    }
    func text(_ range: Range<Int>) -> String {
      range.map { String(groups[$0], radix: 16) }.joined(separator: ":")
    }
    return best.isEmpty ? text(0..<8) : text(0..<best.lowerBound) + "::" + text(best.upperBound..<8)
  }
}

extension Endpoint: CustomStringConvertible {
  /// `192.0.2.1:80` or `[2001:db8::1]:80`.
  public var description: String { address.isIPv4 ? "\(address):\(port)" : "[\(address)]:\(port)" }
}

extension FlowTuple: CustomStringConvertible {
  public var description: String { "\(client)->\(service)" }
}

extension StringProtocol {
  /// Only hexadecimal digits: the integer initialisers also take a sign.
  var isHexadecimal: Bool {
    utf8.allSatisfy { (0x30...0x39).contains($0) || (0x41...0x46).contains($0) || (0x61...0x66).contains($0) }
  }
}
