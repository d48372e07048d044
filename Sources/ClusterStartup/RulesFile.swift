// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import LinuxKernel
import Rules
import Wire
import Yams

/// The rules file: a YAML sequence of mappings, one for each rule, in the order in which they are tried. Every condition
/// and every list may be a single value or a sequence.
enum RulesFile {
  /// What a rule may say.
  enum Field: String, CaseIterable {
    case name
    case host
    case path
    case method
    case cookie
    case client
    case pool
    case sticky
    case lifetime
  }

  /// - Parameter place: where the file's path was given.
  static func load(_ path: String, place: String) throws(ConfigurationProblems) -> [Rule] {
    let text: String
    do {
      text = try SystemFile.text(of: path)
    } catch {
      throw ConfigurationProblems(all: [
        ConfigurationProblem(
          place, "The rules file '\(path)' cannot be read (\(error))", remedy: "Give the path of a readable YAML file")
      ])
    }
    return try parse(text, path: path)
  }

  static func parse(_ text: String, path: String) throws(ConfigurationProblems) -> [Rule] {
    let root: Node?
    do {
      root = try compose(yaml: text)
    } catch {
      throw ConfigurationProblems(all: [SettingsFile.problem(of: error, path: path)])
    }
    guard let root, root.scalar?.string != "" else { return [] }
    var reader = RuleReader(path: path)
    let rules = reader.rules(root)
    if !reader.problems.isEmpty { throw ConfigurationProblems(all: reader.problems) }
    return rules
  }
}

/// Reads rules and gathers what is wrong with them.
private struct RuleReader {
  let path: String
  var problems: [ConfigurationProblem] = []

  init(path: String) { self.path = path }

  mutating func rules(_ root: Node) -> [Rule] {
    guard case .sequence(let items) = root else {
      report(root, "The file is no list of rules", remedy: "Begin each rule with '- ', such as '- path: /api/'")
      return []
    }
    if items.count > RuleSet.maximumRules {
      report(root, "\(items.count) rules are too many", remedy: "Write at most \(RuleSet.maximumRules)")
      return []
    }
    var rules: [Rule] = []
    var pools: [PoolID: String] = [:]
    for item in items {
      let rule = rule(item)
      rules.append(rule)
      guard let pool = rule.pool else { continue }
      if let other = pools.updateValue(pool, forKey: PoolID(pool)), other != pool {
        report(item, "Pools '\(other)' and '\(pool)' have the same number", remedy: "Rename one of them")
      }
    }
    if RuleSet(rules: rules).encodedLength > FrameHeader.maximumBodyLength {
      report(root, "The rules are too long to be sent to distributors", remedy: "Write less than 1 MiB of them")
    }
    return rules
  }

  private mutating func rule(_ node: Node) -> Rule {
    var rule = Rule()
    guard let mapping = node.mapping else {
      report(node, "A rule must be a mapping", remedy: "Write '- field: value', with the fields \(RuleReader.fields)")
      return rule
    }
    var lifetime: (node: Node, seconds: UInt32)?
    for (key, value) in mapping {
      let name = key.scalar?.string ?? ""
      guard let field = RulesFile.Field(rawValue: name) else {
        let nearest = Suggestion.nearest(to: name, among: RulesFile.Field.allCases.map(\.rawValue))
        report(
          key, "There is no field '\(name)' in a rule",
          remedy: nearest.map { "Did you mean '\($0)'?" } ?? "Use \(RuleReader.fields)")
        continue
      }
      read(field, value, &rule, &lifetime)
    }
    if let lifetime {
      if rule.stickiness == nil {
        report(
          lifetime.node, "lifetime: has no effect without 'sticky'", remedy: "Add 'sticky: client' or remove the line")
      }
      rule.stickiness?.lifetime = lifetime.seconds
    }
    if rule.pool == nil, rule.stickiness == nil, problems.isEmpty {
      report(node, "The rule does nothing", remedy: "Add 'pool: NAME', 'sticky: client' or 'sticky: cookie NAME'")
    }
    return rule
  }

  private static var fields: String { RulesFile.Field.allCases.map(\.rawValue).joined(separator: ", ") }

  private mutating func read(
    _ field: RulesFile.Field, _ value: Node, _ rule: inout Rule, _ lifetime: inout (node: Node, seconds: UInt32)?
  ) {
    switch field {
    case .name: rule.name = values(field, value, RuleValue.text, isList: false).first ?? ""
    case .host: rule.hosts = values(field, value, RuleValue.host)
    case .path: rule.paths = values(field, value, RuleValue.path)
    case .method: rule.methods = values(field, value, RuleValue.method)
    case .cookie: rule.cookies = values(field, value, RuleValue.cookie)
    case .client: rule.clients = values(field, value, RuleValue.prefix)
    case .pool: rule.pool = values(field, value, .poolName, isList: false).first
    case .sticky: rule.stickiness = values(field, value, RuleValue.stickiness, isList: false).first
    case .lifetime:
      let seconds = ValueParser<UInt32>.integer("number of seconds", 1...31_536_000)
      lifetime = values(field, value, seconds, isList: false).first.map { (value, $0) }
    }
  }

  private mutating func values<Value>(
    _ field: RulesFile.Field, _ node: Node, _ parser: ValueParser<Value>, isList: Bool = true
  ) -> [Value] {
    var nodes = [node]
    if case .sequence(let items) = node {
      guard isList else {
        report(node, "\(field.rawValue): takes one value, not a list", remedy: "Write '\(field.rawValue): value'")
        return []
      }
      nodes = Array(items)
      if items.isEmpty || items.count > RuleSet.maximumAlternatives {
        report(
          node, "\(field.rawValue): has \(items.count) values",
          remedy: "Give 1 to \(RuleSet.maximumAlternatives), or remove the line")
      }
    }
    var values: [Value] = []
    for node in nodes {
      guard let text = node.scalar?.string else {
        report(node, "\(field.rawValue): must be a value or a list of values", remedy: parser.remedy)
        continue
      }
      if text.utf8.count <= RuleSet.maximumText, let value = parser.parse(text) {
        values.append(value)
      } else {
        report(node, "\(field.rawValue): '\(text)' \(parser.problem)", remedy: parser.remedy)
      }
    }
    return values
  }

  private mutating func report(_ node: Node, _ problem: String, remedy: String) {
    problems.append(
      ConfigurationProblem("\(path):\(node.mark?.description ?? "1:1")", problem, remedy: remedy))
  }
}
