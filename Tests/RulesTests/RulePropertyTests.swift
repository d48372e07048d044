// SPDX-License-Identifier: Apache-2.0

import HTTPHead
import Rules
import Testing
import Wire

/// Random rules on random requests against a plain reading of what a rule means.
@Suite("Random rules")
struct RulePropertyTests {
  struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var z = state
      z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
      z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
      return z ^ (z >> 31)
    }

    mutating func pick(_ count: Int) -> Int { Int(next() % UInt64(count)) }
    mutating func some<Value>(_ values: [Value]) -> [Value] { values.filter { _ in pick(4) == 0 } }
    mutating func one<Value>(_ values: [Value]) -> Value { values[pick(values.count)] }
  }

  static let hosts = ["a.org", "b.a.org", "c.b.a.org", "aa.org", "A.ORG", "[::1]"]
  static let targets = ["/", "/a", "/a/", "/a/b", "/ab?c", "/b/a"]
  static let methods = ["GET", "POST", "PUT", "X-Y"]
  static let names = ["s", "t", "st", "ts"]
  static let addresses = ["10.0.0.1", "10.0.0.2", "10.1.0.1", "2001:db8::1", "2001:db8:0:1::1", "::1"]

  struct Request {
    var host: String
    var target: String
    var method: String
    var cookies: [(name: String, value: String)]
    var client: IPAddress

    var head: String {
      var head = "\(method) \(target) HTTP/1.1\r\nAccept: s=1\r\nHost: \(host)\r\n"
      if !cookies.isEmpty {
        head += "Cookie: " + cookies.map { "\($0.name)=\($0.value)" }.joined(separator: "; ") + "\r\n"
      }
      return head + "X: t=2\r\n\r\n"
    }

    func meets(_ rule: Rule) -> Bool {
      var name = host.lowercased()
      if let colon = name.lastIndex(of: ":"), !name.hasSuffix("]") { name = String(name[..<colon]) }
      let bits = { (address: IPAddress) in
        [address.high, address.low].flatMap { word in
          (0..<64).map { word >> UInt64(63 - $0) & 1 }
        }
      }
      return
        (rule.hosts.isEmpty
        || rule.hosts.contains { $0.coversSubdomains ? name.hasSuffix("." + $0.name) : name == $0.name })
        && (rule.paths.isEmpty || rule.paths.contains { target.hasPrefix($0) })
        && (rule.methods.isEmpty || rule.methods.contains(method))
        && (rule.cookies.isEmpty
          || rule.cookies.contains { condition in
            guard let cookie = cookies.first(where: { $0.name == condition.name }) else { return false }
            return condition.value == nil || condition.value == cookie.value
          })
        && (rule.clients.isEmpty
          || rule.clients.contains { bits($0.address).prefix(Int($0.length)) == bits(client).prefix(Int($0.length)) })
    }
  }

  static func rule(_ generator: inout Generator) -> Rule {
    Rule(
      hosts: generator.some(hosts.filter { $0 != "A.ORG" }).map {
        Rule.HostPattern(name: $0, coversSubdomains: generator.pick(2) == 0)
      },
      paths: generator.some(targets), methods: generator.some(methods),
      cookies: generator.some(names).map {
        Rule.CookieCondition(name: $0, value: generator.pick(2) == 0 ? nil : "\(generator.pick(3))")
      },
      clients: generator.some(addresses).map { text in
        let address = IPAddress(text)!
        return Rule.AddressPrefix(address, length: UInt8(generator.pick(129)))
      }, pool: generator.pick(2) == 0 ? "p\(generator.pick(9))" : nil)
  }

  @Test("the table agrees with a plain reading")
  func agreement() {
    let seed: UInt64 = 42
    var generator = Generator(state: seed)
    var met = 0
    for round in 0..<400 {
      let rules = (0..<generator.pick(8)).map { _ in RulePropertyTests.rule(&generator) }
      for _ in 0..<25 {
        let request = Request(
          host: generator.one(RulePropertyTests.hosts) + (generator.pick(3) == 0 ? ":80" : ""),
          target: generator.one(RulePropertyTests.targets), method: generator.one(RulePropertyTests.methods),
          cookies: generator.some(RulePropertyTests.names).map { ($0, "\(generator.pick(3))") },
          client: IPAddress(generator.one(RulePropertyTests.addresses))!)
        let expected = rules.firstIndex { request.meets($0) }
        let result = RuleTableTests.judge(rules, request.head, client: request.client)
        #expect(result != nil && result?.rule == expected, "seed \(seed), round \(round): \(request) \(rules)")
        #expect(result?.route.pool == expected.flatMap { rules[$0].pool }.map { PoolID($0) } ?? .every)
        if expected != nil { met += 1 }
      }
    }
    #expect(met > 1500 && met < 9500)
  }
}
