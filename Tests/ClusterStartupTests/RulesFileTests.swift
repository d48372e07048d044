// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Rules
import Testing
import Wire

@testable import ClusterStartup

@Suite struct RulesFileTests {
  private static func result(_ text: String) -> Result<[Rule], ConfigurationProblems> {
    Result { () throws(ConfigurationProblems) in try RulesFile.parse(text, path: "r.yaml") }
  }

  @Test func everythingThatARuleCanSay() throws {
    let rules = try RulesFile.parse(
      """
      # first match counts
      - name: api
        host: [api.example.org, "*.API.example.org", "[::1]"]
        path: [/v1/, /v2/]
        method: [GET, HEAD]
        cookie: [beta, stage=2]
        client: [10.0.0.0/8, 2001:db8::/32, 192.0.2.7]
        pool: api
        sticky: cookie JSESSIONID
        lifetime: 60
      - path: /shop/
        sticky: client
      - pool: static
      """, path: "r.yaml")
    #expect(
      rules == [
        Rule(
          name: "api",
          hosts: [
            .init(name: "api.example.org"), .init(name: "api.example.org", coversSubdomains: true),
            .init(name: "[::1]"),
          ],
          paths: ["/v1/", "/v2/"], methods: ["GET", "HEAD"],
          cookies: [.init(name: "beta"), .init(name: "stage", value: "2")],
          clients: [
            .init(IPAddress("10.0.0.0")!, length: 104), .init(IPAddress("2001:db8::")!, length: 32),
            .init(IPAddress("192.0.2.7")!, length: 128),
          ], pool: "api", stickiness: .init(.cookie("JSESSIONID"), lifetime: 60)),
        Rule(paths: ["/shop/"], stickiness: .init(.client, lifetime: 1800)), Rule(pool: "static"),
      ])
    #expect(try RulesFile.parse("", path: "r.yaml").isEmpty)
    #expect(try RulesFile.parse("# nothing yet\n", path: "r.yaml").isEmpty)
  }

  struct Wrong: Sendable, CustomStringConvertible {
    var description: String
    var text: String
    var problems: [String]
  }

  static let wrong: [Wrong] = [
    Wrong(
      description: "no list", text: "host: a.org",
      problems: ["r.yaml:1:1: The file is no list of rules. Begin each rule with '- ', such as '- path: /api/'."]),
    Wrong(
      description: "no mapping", text: "- /api/",
      problems: [
        "r.yaml:1:3: A rule must be a mapping. Write '- field: value', with the fields name, host, path, method, cookie, "
          + "client, pool, sticky, lifetime."
      ]),
    Wrong(
      description: "unknown fields", text: "- pool: a\n  hosts: b\n  wibble: c",
      problems: [
        "r.yaml:2:3: There is no field 'hosts' in a rule. Did you mean 'host'?",
        "r.yaml:3:3: There is no field 'wibble' in a rule. Use name, host, path, method, cookie, client, pool, sticky, "
          + "lifetime.",
      ]),
    Wrong(
      description: "values",
      text: """
        - host: [a.org:80, 'a b']
          path: api
          method: 'G T'
          cookie: 'a b=1'
          client: [10.0.0.0/33, 1.2.3]
          pool: a/b
          sticky: ip
          lifetime: 0
        """,
      problems: [
        "r.yaml:1:10: host: 'a.org:80' is no host. Give a name without port such as www.example.org, or *.example.org.",
        "r.yaml:1:20: host: 'a b' is no host. Give a name without port such as www.example.org, or *.example.org.",
        "r.yaml:2:9: path: 'api' is no beginning of a path. Give one that begins with '/', without blanks and '#'.",
        "r.yaml:3:11: method: 'G T' is no request method. Give one such as GET or POST.",
        "r.yaml:4:11: cookie: 'a b=1' is no cookie. Give NAME for any value, or NAME=VALUE.",
        "r.yaml:5:12: client: '10.0.0.0/33' is no address or prefix. Give one such as 192.0.2.7, 192.0.2.0/24 or "
          + "2001:db8::/32.",
        "r.yaml:5:25: client: '1.2.3' is no address or prefix. Give one such as 192.0.2.7, 192.0.2.0/24 or "
          + "2001:db8::/32.",
        "r.yaml:6:9: pool: 'a/b' is no name of a pool. Give 1 to 63 letters, digits, '-', '_' or '.'.",
        "r.yaml:7:11: sticky: 'ip' is nothing to stick by. Give 'client', or 'cookie NAME'.",
        "r.yaml:8:13: lifetime: '0' is no number of seconds. Give a whole number from 1 to 31536000.",
      ]),
    Wrong(
      description: "a list where one value belongs", text: "- pool: [a, b]",
      problems: ["r.yaml:1:9: pool: takes one value, not a list. Write 'pool: value'."]),
    Wrong(
      description: "an empty list", text: "- pool: a\n  host: []",
      problems: ["r.yaml:2:9: host: has 0 values. Give 1 to 64, or remove the line."]),
    Wrong(
      description: "a mapping as value", text: "- pool: a\n  path: {b: c}",
      problems: [
        "r.yaml:2:9: path: must be a value or a list of values. Give one that begins with '/', without blanks and '#'."
      ]),
    Wrong(
      description: "without effect", text: "- path: /a\n- pool: a\n  lifetime: 5",
      problems: [
        "r.yaml:1:3: The rule does nothing. Add 'pool: NAME', 'sticky: client' or 'sticky: cookie NAME'.",
        "r.yaml:3:13: lifetime: has no effect without 'sticky'. Add 'sticky: client' or remove the line.",
      ]),
    Wrong(
      description: "no YAML", text: "- pool: [a",
      problems: [
        "r.yaml:2:1: This is no YAML: did not find expected ',' or ']' (while parsing a flow sequence). Correct the YAML "
          + "there."
      ]),
  ]

  @Test(arguments: wrong)
  func problemsSayLineFieldAndWhatIsAllowed(_ item: Wrong) {
    switch Self.result(item.text) {
    case .success(let rules): Issue.record("taken as \(rules)")
    case .failure(let problems): #expect(problems.all.map { "\($0)" } == item.problems)
    }
  }

  @Test func sizesAreBounded() {
    let many = String(repeating: "- pool: a\n", count: RuleSet.maximumRules + 1)
    guard case .failure(let problems) = Self.result(many) else {
      Issue.record("too many rules are taken")
      return
    }
    #expect("\(problems)".contains("Write at most 256"))
    let long = "- pool: a\n  path: /" + String(repeating: "x", count: 255)
    if case .success = Self.result(long) { Issue.record("a pattern that no message holds is taken") }
  }

  @Test func missingFilesAreNamedWithTheOption() {
    let values = try? StartupCommand.parse(["-D", "--rules", "/nowhere/r.yaml"]).options.values
    #expect { _ = try NodeConfiguration(checking: values ?? SettingValues()) } throws: { error in
      "\(error)".contains("--rules: The rules file '/nowhere/r.yaml' cannot be read")
    }
  }
}
