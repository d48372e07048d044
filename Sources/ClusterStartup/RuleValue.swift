// SPDX-License-Identifier: Apache-2.0

import Rules
import Wire

/// Parsers of what stands in the fields of a rule.
enum RuleValue {
  static var text: ValueParser<String> {
    ValueParser(parse: { $0 }, problem: "is too long", remedy: "Give at most \(RuleSet.maximumText) bytes")
  }

  static var host: ValueParser<Rule.HostPattern> {
    ValueParser(
      parse: { text in
        let isPattern = text.hasPrefix("*.")
        let name = (isPattern ? text.dropFirst(2) : text[...]).lowercased()
        let isName = ValueParser<String>.host.parse(name) != nil
        // An IPv6 address stands in brackets, as in the Host field.
        let isAddress =
          name.hasPrefix("[") && name.hasSuffix("]") && IPAddress(String(name.dropFirst().dropLast())) != nil
        guard isName && !name.contains(":") || isAddress && !isPattern else { return nil }
        return Rule.HostPattern(name: name, coversSubdomains: isPattern)
      },
      problem: "is no host", remedy: "Give a name without port such as www.example.org, or *.example.org")
  }

  static var path: ValueParser<String> {
    ValueParser(
      parse: { text in
        text.hasPrefix("/") && text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f && $0 != 0x23 } ? text : nil
      },
      problem: "is no beginning of a path", remedy: "Give one that begins with '/', without blanks and '#'")
  }

  static var method: ValueParser<String> {
    ValueParser(
      parse: { isToken($0) ? $0 : nil }, problem: "is no request method", remedy: "Give one such as GET or POST")
  }

  static var cookie: ValueParser<Rule.CookieCondition> {
    ValueParser(
      parse: { text in
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard let name = parts.first, isToken(String(name)) else { return nil }
        guard parts.count == 2 else { return Rule.CookieCondition(name: String(name)) }
        // RFC 6265 section 4.1.1: no blanks, quotes, commas, semicolons and backslashes.
        let isValue = parts[1].utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && ![0x22, 0x2c, 0x3b, 0x5c].contains($0) }
        return isValue ? Rule.CookieCondition(name: String(name), value: String(parts[1])) : nil
      },
      problem: "is no cookie", remedy: "Give NAME for any value, or NAME=VALUE")
  }

  static var prefix: ValueParser<Rule.AddressPrefix> {
    ValueParser(
      parse: { text in
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = parts.first.flatMap({ IPAddress(String($0)) }) else { return nil }
        let width: UInt8 = address.isIPv4 ? 32 : 128
        guard parts.count == 2 else { return Rule.AddressPrefix(address, length: 128) }
        guard let length = ValueParser<UInt8>.integer("", 0...width).parse(String(parts[1])) else { return nil }
        return Rule.AddressPrefix(address, length: 128 - width + length)
      },
      problem: "is no address or prefix", remedy: "Give one such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")
  }

  static var stickiness: ValueParser<Rule.Stickiness> {
    ValueParser(
      parse: { text in
        let words = text.split(separator: " ")
        switch (words.first, words.count) {
        case ("client", 1): return Rule.Stickiness(.client)
        case ("cookie", 2) where isToken(String(words[1])): return Rule.Stickiness(.cookie(String(words[1])))
        default: return nil
        }
      },
      problem: "is nothing to stick by", remedy: "Give 'client', or 'cookie NAME'")
  }

  /// RFC 9110 section 5.6.2.
  private static func isToken(_ text: String) -> Bool {
    !text.isEmpty
      && text.utf8.allSatisfy { byte in
        (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
          || "!#$%&'*+-.^_`|~".utf8.contains(byte)
      }
  }
}
