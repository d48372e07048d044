// SPDX-License-Identifier: Apache-2.0

import DispatcherCore
import Rules
import Wire

/// What a text must be to become a value, with the sentences for when it is not.
struct ValueParser<Value> {
  /// Nil when the text is none of these.
  var parse: (String) -> Value?
  /// Completes "'text' ...": `is no port`.
  var problem: String
  var remedy: String
}

extension ValueParser where Value: FixedWidthInteger {
  static func integer(_ what: String, _ range: ClosedRange<Value>) -> ValueParser {
    ValueParser(
      parse: { text in
        // `Int` would take "+5", which is more likely a slip.
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let value = Value(text) else { return nil }
        return range.contains(value) ? value : nil
      },
      problem: "is no \(what)", remedy: "Give a whole number from \(range.lowerBound) to \(range.upperBound)")
  }
}

extension ValueParser where Value == UInt16 {
  static var port: ValueParser { integer("TCP port", 1...65_535) }
}

extension ValueParser where Value == Double {
  /// Seconds with an optional fraction.
  static func seconds(_ range: ClosedRange<Double>) -> ValueParser {
    ValueParser(
      parse: { text in
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2e }), let value = Double(text),
          range.contains(value)
        else { return nil }
        return value
      },
      problem: "is no number of seconds",
      remedy: "Give a number from \(plain(range.lowerBound)) to \(plain(range.upperBound)), such as 10 or 0.5")
  }

  private static func plain(_ value: Double) -> String {
    value == value.rounded() ? "\(Int(value))" : "\(value)"
  }
}

extension ValueParser where Value == IPAddress {
  /// An address that a host can have: no wildcard, multicast or IPv4 broadcast.
  static var address: ValueParser {
    ValueParser(
      parse: { text in IPAddress(text).flatMap { $0.isAssignable ? $0 : nil } },
      problem: "is no address of a host", remedy: "Give an IPv4 or IPv6 address such as 192.0.2.1 or 2001:db8::1")
  }
}

extension ValueParser where Value == Endpoint? {
  /// `ADDRESS:PORT`, or `none`.
  static var optionalEndpoint: ValueParser {
    ValueParser(
      parse: { text in text == "none" ? .some(nil) : Endpoint(text).map { .some($0) } },
      problem: "is no ADDRESS:PORT",
      remedy: "Give an address and a port such as 127.0.0.1:7010 or [::1]:7010, or 'none'")
  }
}

extension ValueParser where Value == Admission {
  static var admission: ValueParser {
    let number = ValueParser<UInt64>.integer("limit", 1...1_000_000_000)
    return ValueParser(
      parse: { text in
        switch text {
        case "unlimited": .unlimited
        case "thresholds": .thresholds
        default: number.parse(text).map { .fixed($0) }
        }
      },
      problem: "is no admission limit", remedy: "Give 'unlimited', 'thresholds' or a number of connections")
  }
}

extension ValueParser where Value == String {
  /// A DNS name or an address literal.
  static var host: ValueParser {
    ValueParser(
      parse: { text in
        if IPAddress(text) != nil { return text }
        let labels = text.split(separator: ".", omittingEmptySubsequences: false)
        let isName = labels.allSatisfy { label in
          (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
            && label.utf8.allSatisfy { isWord($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }
        }
        return isName && text.utf8.count <= 253 && labels.last?.allSatisfy(\.isNumber) == false ? text : nil
      },
      problem: "is no host name and no address", remedy: "Give the name or the address of the dispatcher's node")
  }

  static var nodeName: ValueParser {
    ValueParser(
      parse: { text in
        let isPlain = text.unicodeScalars.allSatisfy { $0.value > 0x20 && $0.value != 0x7f }
        return isPlain && (1...255).contains(text.utf8.count) ? text : nil
      },
      problem: "is no node name", remedy: "Give 1 to 255 bytes without blanks and control characters")
  }

  static var poolName: ValueParser {
    ValueParser(
      parse: { PoolID.isName($0) ? $0 : nil }, problem: "is no name of a pool",
      remedy: "Give 1 to \(PoolID.maximumNameLength) letters, digits, '-', '_' or '.'")
  }

  /// IFNAMSIZ is 16 with the final zero (include/uapi/linux/if.h).
  static var interface: ValueParser {
    ValueParser(
      parse: { text in
        let isPlain = text.unicodeScalars.allSatisfy { $0.value > 0x20 && $0 != "/" && $0 != ":" }
        return isPlain && (1...15).contains(text.utf8.count) ? text : nil
      },
      problem: "is no interface name", remedy: "Give a name as 'ip link' shows it, such as eth0")
  }

  private static func isWord(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
  }
}

extension ValueParser where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
  static func word(_ what: String) -> ValueParser {
    ValueParser(
      parse: { Value(rawValue: $0) }, problem: "is no \(what)",
      remedy: "Give one of \(Value.allCases.map(\.rawValue).joined(separator: ", "))")
  }
}

extension IPAddress {
  /// Neither unspecified nor multicast nor the IPv4 broadcast address.
  var isAssignable: Bool {
    if isIPv4 { return ipv4Bits >> 24 != 0 && ipv4Bits >> 28 != 0xe && ipv4Bits != 0xffff_ffff }
    return !(high == 0 && low == 0) && high >> 56 != 0xff
  }
}
