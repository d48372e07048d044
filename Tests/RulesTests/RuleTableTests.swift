// SPDX-License-Identifier: Apache-2.0

import HTTPHead
import Rules
import Testing
import Wire

@Suite("Rule table")
struct RuleTableTests {
  /// A request head as a client sends it, and what a table says about it.
  static func judge(
    _ rules: [Rule], _ head: String, client: IPAddress = IPAddress("192.0.2.7")!, key: UInt64 = 1
  ) -> (route: Route, rule: Int?)? {
    let bytes = Array(head.utf8)
    var scanner = RequestHeadScanner()
    guard case .complete(let scanned) = scanner.scan(bytes.span) else { return nil }
    let table = RuleTable(RuleSet(rules: rules, keyHigh: key, keyLow: 2))
    return table.judge(RequestFacts(scanned, in: bytes.span, client: client), in: bytes.span)
  }

  static func head(
    _ target: String = "/", method: String = "GET", host: String = "www.example.org", fields: [String] = []
  ) -> String {
    ["\(method) \(target) HTTP/1.1", "Host: \(host)"].joined(separator: "\r\n")
      + (fields.isEmpty ? "" : "\r\n" + fields.joined(separator: "\r\n")) + "\r\n\r\n"
  }

  struct Case: Sendable, CustomStringConvertible {
    var description: String
    var rule: Rule
    var head: String
    var client = IPAddress("192.0.2.7")!
    var meets: Bool
  }

  private static func host(_ name: String, _ sub: Bool = false) -> Rule {
    Rule(hosts: [Rule.HostPattern(name: name, coversSubdomains: sub)])
  }

  private static func cookie(_ name: String, _ value: String? = nil) -> Rule {
    Rule(cookies: [Rule.CookieCondition(name: name, value: value)])
  }

  private static func client(_ text: String, _ length: UInt8) -> Rule {
    Rule(clients: [Rule.AddressPrefix(IPAddress(text)!, length: length)])
  }

  static let cases: [Case] = [
    Case(description: "no condition", rule: Rule(), head: head(), meets: true),
    Case(description: "host", rule: host("www.example.org"), head: head(), meets: true),
    Case(
      description: "host in capitals with port and dot", rule: host("www.example.org"),
      head: head(host: "WWW.Example.ORG.:8080"), meets: true),
    Case(description: "another host", rule: host("example.org"), head: head(), meets: false),
    Case(description: "longer host", rule: host("www.example.org"), head: head(host: "xwww.example.org"), meets: false),
    Case(
      description: "host of an absolute target", rule: host("a.b"), head: head("http://a.b/", host: "a.b"), meets: true),
    Case(description: "no host in HTTP/1.0", rule: host("a.b"), head: "GET / HTTP/1.0\r\n\r\n", meets: false),
    Case(description: "empty host", rule: host("a.b", true), head: head(host: ""), meets: false),
    Case(description: "IPv6 host", rule: host("[::1]"), head: head(host: "[::1]:80"), meets: true),
    Case(description: "subdomain", rule: host("example.org", true), head: head(), meets: true),
    Case(
      description: "the domain itself", rule: host("example.org", true), head: head(host: "example.org"), meets: false),
    Case(
      description: "no label border", rule: host("example.org", true), head: head(host: "wwwexample.org"), meets: false),
    Case(description: "path", rule: Rule(paths: ["/api/"]), head: head("/api/x?y"), meets: true),
    Case(description: "path without slash", rule: Rule(paths: ["/api/"]), head: head("/api"), meets: false),
    Case(description: "paths have a case", rule: Rule(paths: ["/api/"]), head: head("/API/x"), meets: false),
    Case(description: "one of paths", rule: Rule(paths: ["/a", "/b"]), head: head("/bc"), meets: true),
    Case(
      description: "path of an absolute target", rule: Rule(paths: ["/api/"]),
      head: head("http://www.example.org/api/x"), meets: true),
    Case(description: "query in a path", rule: Rule(paths: ["/a?x=1"]), head: head("/a?x=12"), meets: true),
    Case(description: "method", rule: Rule(methods: ["PUT", "POST"]), head: head(method: "POST"), meets: true),
    Case(description: "methods have a case", rule: Rule(methods: ["POST"]), head: head(method: "post"), meets: false),
    Case(description: "another method", rule: Rule(methods: ["POST"]), head: head(), meets: false),
    Case(description: "cookie", rule: cookie("b"), head: head(fields: ["cookie: a=1; b=2"]), meets: true),
    Case(description: "no cookie field", rule: cookie("b"), head: head(fields: ["X-Cookie: b=2"]), meets: false),
    Case(
      description: "cookie among many fields", rule: cookie("b", "2"),
      head: head(fields: ["Accept: */*", "COOKIE:a=1;b=2  ", "X: y"]), meets: true),
    Case(
      description: "cookie of another value", rule: cookie("b", "2"), head: head(fields: ["Cookie: b=22"]), meets: false
    ),
    Case(
      description: "value that ends earlier", rule: cookie("b", "22"), head: head(fields: ["Cookie: b=2"]), meets: false
    ),
    Case(
      description: "name at the end of a name", rule: cookie("b"), head: head(fields: ["Cookie: ab=2"]), meets: false),
    Case(description: "name without a value", rule: cookie("b"), head: head(fields: ["Cookie: b"]), meets: false),
    Case(description: "empty cookie field", rule: cookie("b"), head: head(fields: ["Cookie:"]), meets: false),
    Case(
      description: "cookie in the body", rule: cookie("b"),
      head: head(method: "POST", fields: ["Content-Length: 11"]) + "Cookie: b=2", meets: false),
    Case(description: "client", rule: client("192.0.2.7", 128), head: head(), meets: true),
    Case(description: "client's network", rule: client("192.0.0.0", 96 + 16), head: head(), meets: true),
    Case(description: "next network", rule: client("192.0.3.0", 96 + 24), head: head(), meets: false),
    Case(description: "all of IPv4", rule: client("0.0.0.0", 96), head: head(), meets: true),
    Case(
      description: "all of IPv4, an IPv6 client", rule: client("0.0.0.0", 96), head: head(),
      client: IPAddress("2001:db8::1")!, meets: false),
    Case(
      description: "IPv6 network", rule: client("2001:db8::", 32), head: head(), client: IPAddress("2001:db8:1::1")!,
      meets: true),
    Case(
      description: "IPv6 network, longer than 64", rule: client("2001:db8::f0", 124), head: head(),
      client: IPAddress("2001:db8::ef")!, meets: false),
    Case(
      description: "one of two conditions", rule: Rule(paths: ["/a"], methods: ["POST"]), head: head("/a"), meets: false
    ),
  ]

  @Test("one condition", arguments: cases)
  func condition(_ item: Case) throws {
    let result = try #require(RuleTableTests.judge([item.rule], item.head, client: item.client))
    #expect((result.rule == 0) == item.meets)
  }

  @Test("the first rule that is met counts; without any the request may go everywhere")
  func order() throws {
    let rules = [
      Rule(paths: ["/a"], pool: "first"), Rule(paths: ["/a", "/b"], pool: "second"),
      Rule(paths: ["/c"], stickiness: Rule.Stickiness(.client, lifetime: 5)),
    ]
    let a = try #require(RuleTableTests.judge(rules, RuleTableTests.head("/a")))
    #expect(a.rule == 0 && a.route == Route(pool: PoolID("first")))
    let b = try #require(RuleTableTests.judge(rules, RuleTableTests.head("/b")))
    #expect(b.rule == 1 && b.route == Route(pool: PoolID("second")))
    let c = try #require(RuleTableTests.judge(rules, RuleTableTests.head("/c")))
    #expect(c.rule == 2 && c.route.pool == .every && c.route.affinity?.lifetime == 5)
    let d = try #require(RuleTableTests.judge(rules, RuleTableTests.head("/d")))
    #expect(d.rule == nil && d.route == Route())
  }

  @Test("what sticks: clients by address or /64, sessions by cookie, both apart from pool to pool")
  func affinity() throws {
    func key(
      _ source: Rule.Source, client: String, cookie: String? = nil, pool: String? = nil, secret: UInt64 = 1
    ) throws -> Affinity {
      let rule = Rule(pool: pool, stickiness: Rule.Stickiness(source))
      let head = RuleTableTests.head(fields: cookie.map { ["Cookie: x=1; s=\($0)"] } ?? [])
      let result = RuleTableTests.judge([rule], head, client: try #require(IPAddress(client)), key: secret)
      return try #require(result?.route.affinity)
    }
    let one = try key(.client, client: "192.0.2.1")
    #expect(one == (try key(.client, client: "192.0.2.1")))
    #expect(one.seed == 0 && one.lifetime == 1800 && one.clientKey == one.key)
    #expect(one != (try key(.client, client: "192.0.2.2")))
    #expect(one != (try key(.client, client: "192.0.2.1", pool: "p")))
    #expect(one != (try key(.client, client: "192.0.2.1", secret: 9)), "the key is the dispatcher's secret")
    #expect(try key(.client, client: "2001:db8::1") == key(.client, client: "2001:db8::ffff:1"))
    #expect(try key(.client, client: "2001:db8::1") != key(.client, client: "2001:db8:0:1::1"))
    let session = try key(.cookie("s"), client: "192.0.2.1", cookie: "abc")
    #expect(session.seed == one.key && session.key != one.key && session.clientKey == one.key)
    #expect(session.key == (try key(.cookie("s"), client: "203.0.113.9", cookie: "abc")).key)
    #expect(session.key != (try key(.cookie("s"), client: "192.0.2.1", cookie: "abd")).key)
    #expect(try key(.cookie("s"), client: "192.0.2.1") == one, "without its cookie the client counts")
    #expect(try key(.cookie("s"), client: "192.0.2.1", cookie: "") == one)
  }

  @Test("pool numbers are of names alone")
  func pools() {
    #expect(PoolID("api") == PoolID("api") && PoolID("api") != PoolID("apj"))
    #expect(PoolID("api").rawValue != 0)
    #expect(Set((0..<10_000).map { PoolID("pool-\($0)") }).count >= 9_999)
    for good in ["a", "A-1_b.c", String(repeating: "x", count: 63)] { #expect(PoolID.isName(good)) }
    for bad in ["", "a b", "ä", "a/b", String(repeating: "x", count: 64)] { #expect(!PoolID.isName(bad)) }
  }
}
