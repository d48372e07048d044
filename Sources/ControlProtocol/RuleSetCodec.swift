// SPDX-License-Identifier: Apache-2.0

public import Rules
internal import Wire

/// A rule set on the wire: key 16, count 2, then each rule: name, pool (empty: every), stickiness 1 (0 none, 1 client, 2
/// cookie), cookie name, lifetime 4, lists of hosts, paths, methods, cookies, clients.
extension RuleSet {
  /// Bytes of the message body; at most `FrameHeader.maximumBodyLength`, which whoever makes a set checks.
  public var encodedLength: Int { rules.reduce(18) { $0 + $1.encodedLength } }

  init(_ body: Span<UInt8>, _ reader: inout BodyReader) throws(ControlProtocolError) {
    let keyHigh = try reader.uint64(body)
    let keyLow = try reader.uint64(body)
    let count = try reader.count(body, limit: RuleSet.maximumRules)
    var rules: [Rule] = []
    for _ in 0..<count { rules.append(try Rule(body, &reader)) }
    self.init(rules: rules, keyHigh: keyHigh, keyLow: keyLow)
  }

  func encode(to output: inout OutputSpan<UInt8>) {
    output.append(bigEndian: keyHigh)
    output.append(bigEndian: keyLow)
    output.append(bigEndian: UInt16(rules.count))
    for rule in rules { rule.encode(to: &output) }
  }
}

extension Rule {
  private static let limit = RuleSet.maximumAlternatives

  fileprivate init(_ body: Span<UInt8>, _ reader: inout BodyReader) throws(ControlProtocolError) {
    self.init(name: try reader.text(body))
    let pool = try reader.text(body)
    self.pool = pool.isEmpty ? nil : pool
    let kind = try reader.uint8(body)
    let cookie = try reader.text(body)
    let lifetime = try reader.uint32(body)
    switch kind {
    case 0: guard cookie.isEmpty, lifetime == 0 else { throw .invalidRule }
    case 1:
      guard cookie.isEmpty, lifetime > 0 else { throw .invalidRule }
      stickiness = Stickiness(.client, lifetime: lifetime)
    case 2:
      guard lifetime > 0 else { throw .invalidRule }
      stickiness = Stickiness(.cookie(cookie), lifetime: lifetime)
    default: throw .invalidRule
    }
    for _ in 0..<(try Rule.count(body, &reader)) {
      let name = try reader.text(body)
      hosts.append(HostPattern(name: name, coversSubdomains: try reader.flag(body)))
    }
    paths = try reader.texts(body, limit: Rule.limit)
    methods = try reader.texts(body, limit: Rule.limit)
    for _ in 0..<(try Rule.count(body, &reader)) {
      let name = try reader.text(body)
      let value: String? = if try reader.flag(body) { try reader.text(body) } else { nil }
      cookies.append(CookieCondition(name: name, value: value))
    }
    for _ in 0..<(try Rule.count(body, &reader)) {
      let address = try reader.address(body)
      let length = try reader.uint8(body)
      guard length <= 128 else { throw .invalidRule }
      clients.append(AddressPrefix(address, length: length))
    }
  }

  private static func count(_ body: Span<UInt8>, _ reader: inout BodyReader) throws(ControlProtocolError) -> Int {
    let count = Int(try reader.uint8(body))
    guard count <= limit else { throw .tooManyElements }
    return count
  }

  fileprivate var encodedLength: Int {
    var length = BodyLength.text(name) + BodyLength.text(pool ?? "") + 1 + BodyLength.text(cookieName) + 4
    length += hosts.reduce(1) { $0 + BodyLength.text($1.name) + 1 }
    length += BodyLength.texts(paths) + BodyLength.texts(methods)
    length += cookies.reduce(1) { $0 + BodyLength.text($1.name) + 1 + ($1.value.map { BodyLength.text($0) } ?? 0) }
    return length + 1 + clients.count * 17
  }

  private var cookieName: String {
    if case .cookie(let name) = stickiness?.source { name } else { "" }
  }

  fileprivate func encode(to output: inout OutputSpan<UInt8>) {
    output.append(text: name)
    output.append(text: pool ?? "")
    switch stickiness?.source {
    case nil: output.append(0)
    case .client: output.append(1)
    case .cookie: output.append(2)
    }
    output.append(text: cookieName)
    output.append(bigEndian: stickiness?.lifetime ?? 0)
    output.append(UInt8(clamping: hosts.count))
    for host in hosts {
      output.append(text: host.name)
      output.append(host.coversSubdomains ? 1 : 0)
    }
    output.append(texts: paths)
    output.append(texts: methods)
    output.append(UInt8(clamping: cookies.count))
    for cookie in cookies {
      output.append(text: cookie.name)
      output.append(cookie.value == nil ? 0 : 1)
      if let value = cookie.value { output.append(text: value) }
    }
    output.append(UInt8(clamping: clients.count))
    for client in clients {
      output.append(client.address)
      output.append(client.length)
    }
  }
}

extension BodyReader {
  /// 0 or 1.
  fileprivate mutating func flag(_ body: Span<UInt8>) throws(ControlProtocolError) -> Bool {
    let value = try uint8(body)
    guard value <= 1 else { throw .invalidFlags }
    return value == 1
  }
}
