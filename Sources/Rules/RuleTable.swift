// SPDX-License-Identifier: Apache-2.0

internal import Wire

/// A `RuleSet` made ready to judge requests: patterns as bytes in one array, so that no request allocates.
public struct RuleTable: Sendable {
  /// Bytes of `texts`.
  private struct Text: BitwiseCopyable {
    var start: Int32
    var count: Int32

    var range: Range<Int> { Int(start)..<Int(start) + Int(count) }
  }

  private struct Host: BitwiseCopyable {
    var name: Text
    var coversSubdomains: Bool
  }

  private struct Cookie: BitwiseCopyable {
    var name: Text
    var value: Text?
  }

  /// Positions in one of the pattern lists.
  private struct Part: BitwiseCopyable {
    var start: Int32
    var end: Int32

    var isEmpty: Bool { start == end }
    var range: Range<Int> { Int(start)..<Int(end) }
  }

  private enum Stickiness: BitwiseCopyable {
    case none
    case client
    case cookie(Text)
  }

  private struct Entry: BitwiseCopyable {
    var hosts: Part
    var paths: Part
    var methods: Part
    var cookies: Part
    var clients: Part
    var pool: PoolID
    var stickiness: Stickiness
    var lifetime: UInt32
  }

  private var entries: [Entry] = []
  private var texts: [UInt8] = []
  private var hosts: [Host] = []
  private var paths: [Text] = []
  private var methods: [Text] = []
  private var cookies: [Cookie] = []
  private var clients: [Rule.AddressPrefix] = []
  private let key: KeyedHash
  private var readsCookies = false

  public init(_ set: RuleSet = RuleSet()) {
    key = KeyedHash(set.keyHigh, set.keyLow)
    for rule in set.rules { append(rule) }
  }

  public var isEmpty: Bool { entries.isEmpty }

  private mutating func append(_ rule: Rule) {
    let first = (hosts.count, paths.count, methods.count, cookies.count, clients.count)
    for host in rule.hosts {
      hosts.append(Host(name: store(host.name.lowercased()), coversSubdomains: host.coversSubdomains))
    }
    for path in rule.paths { paths.append(store(path)) }
    for method in rule.methods { methods.append(store(method)) }
    for cookie in rule.cookies {
      cookies.append(Cookie(name: store(cookie.name), value: cookie.value.map { store($0) }))
    }
    clients += rule.clients
    var stickiness = Stickiness.none
    switch rule.stickiness?.source {
    case nil: break
    case .client: stickiness = .client
    case .cookie(let name):
      stickiness = .cookie(store(name))
      readsCookies = true
    }
    readsCookies = readsCookies || !rule.cookies.isEmpty
    entries.append(
      Entry(
        hosts: part(first.0, hosts.count), paths: part(first.1, paths.count), methods: part(first.2, methods.count),
        cookies: part(first.3, cookies.count), clients: part(first.4, clients.count),
        pool: rule.pool.map { PoolID($0) } ?? .every, stickiness: stickiness,
        lifetime: rule.stickiness?.lifetime ?? 1))
  }

  private func part(_ start: Int, _ end: Int) -> Part { Part(start: Int32(start), end: Int32(end)) }

  private mutating func store(_ text: String) -> Text {
    let start = texts.count
    texts += text.utf8
    return Text(start: Int32(start), count: Int32(texts.count - start))
  }

  // MARK: Judging

  /// What the first rule that the request meets says, and the rule's position; nil as position when it meets none.
  public func judge(_ request: RequestFacts, in bytes: Span<UInt8>) -> (route: Route, rule: Int?) {
    if entries.isEmpty { return (Route(), nil) }
    let host = request.hostName(bytes)
    let field = readsCookies ? request.cookieField(bytes) : nil
    for index in entries.indices {
      let entry = entries[index]
      guard meets(entry, request, host, field, bytes) else { continue }
      return (Route(pool: entry.pool, affinity: affinity(entry, request, field, bytes)), index)
    }
    return (Route(), nil)
  }

  private func meets(
    _ entry: Entry, _ request: RequestFacts, _ host: Range<Int>?, _ field: Range<Int>?, _ bytes: Span<UInt8>
  ) -> Bool {
    if !entry.clients.isEmpty {
      guard entry.clients.range.contains(where: { clients[$0].contains(request.client) }) else { return false }
    }
    if !entry.methods.isEmpty {
      guard
        entry.methods.range.contains(where: { bytes.isEqual(request.method, texts.span.extracting(methods[$0].range)) })
      else {
        return false
      }
    }
    if !entry.hosts.isEmpty {
      guard let host, entry.hosts.range.contains(where: { matches(hosts[$0], host, bytes) }) else { return false }
    }
    if !entry.paths.isEmpty {
      guard
        entry.paths.range.contains(where: {
          bytes.hasPrefix(texts.span.extracting(paths[$0].range), in: request.target)
        })
      else {
        return false
      }
    }
    if !entry.cookies.isEmpty {
      guard let field, entry.cookies.range.contains(where: { matches(cookies[$0], field, bytes) }) else { return false }
    }
    return true
  }

  private func matches(_ pattern: Host, _ host: Range<Int>, _ bytes: Span<UInt8>) -> Bool {
    let name = texts.span.extracting(pattern.name.range)
    guard pattern.coversSubdomains else { return bytes.isEqualIgnoringCase(host, name) }
    // At least one byte and the dot come before the name.
    guard host.count >= name.count + 2 else { return false }
    let start = host.upperBound - name.count
    return bytes[start - 1] == 0x2e && bytes.isEqualIgnoringCase(start..<host.upperBound, name)
  }

  private func matches(_ pattern: Cookie, _ field: Range<Int>, _ bytes: Span<UInt8>) -> Bool {
    guard let value = bytes.cookie(texts.span.extracting(pattern.name.range), in: field) else { return false }
    guard let expected = pattern.value else { return true }
    return bytes.isEqual(value, texts.span.extracting(expected.range))
  }

  // MARK: Affinity

  private func affinity(
    _ entry: Entry, _ request: RequestFacts, _ field: Range<Int>?, _ bytes: Span<UInt8>
  ) -> Affinity? {
    switch entry.stickiness {
    case .none: return nil
    case .client: return Affinity(key: clientKey(request.client, entry.pool), lifetime: entry.lifetime)
    case .cookie(let name):
      let client = clientKey(request.client, entry.pool)
      guard let field, let value = bytes.cookie(texts.span.extracting(name.range), in: field), !value.isEmpty else {
        return Affinity(key: client, lifetime: entry.lifetime)
      }
      let session = mixed(key.hash(bytes.extracting(value)), entry.pool, kind: 2)
      return Affinity(key: session, seed: client, lifetime: entry.lifetime)
    }
  }

  /// IPv6 hosts draw new addresses of their /64 as they like (RFC 8981).
  private func clientKey(_ client: IPAddress, _ pool: PoolID) -> UInt64 {
    mixed(client.isIPv4 ? client.low : client.high, pool, kind: client.isIPv4 ? 0 : 1)
  }

  /// Hashes three numbers with the key; never 0, which stands for no key.
  private func mixed(_ value: UInt64, _ pool: PoolID, kind: UInt64) -> UInt64 {
    let scope = UInt64(pool.rawValue) << 8 | kind
    var bytes = InlineArray<16, UInt8>(repeating: 0)
    for index in 0..<8 {
      bytes[index] = UInt8(truncatingIfNeeded: value >> UInt64(index * 8))
      bytes[index + 8] = UInt8(truncatingIfNeeded: scope >> UInt64(index * 8))
    }
    return max(1, key.hash(bytes.span))
  }
}
