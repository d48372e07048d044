// SPDX-License-Identifier: Apache-2.0

/// Where a value was written.
enum SettingSource: Sendable, Hashable {
  case option(String)
  case file(String, line: Int, column: Int)
}

extension SettingSource: CustomStringConvertible {
  /// `-fp` or `/etc/handoff.yaml:3:5`.
  var description: String {
    switch self {
    case .option(let name): name
    case .file(let path, let line, let column): "\(path):\(line):\(column)"
    }
  }
}

/// Texts that were given for settings, not yet checked.
struct SettingValues: Sendable, Hashable {
  struct Value: Sendable, Hashable {
    var text: String
    var source: SettingSource
  }

  private(set) var values: [Setting: [Value]] = [:]

  mutating func append(_ text: String, for setting: Setting, from source: SettingSource) {
    values[setting, default: []].append(Value(text: text, source: source))
  }

  /// Options win over the file, setting by setting; lists are replaced, not joined.
  func overridden(by other: SettingValues) -> SettingValues {
    var result = self
    result.values.merge(other.values) { $1 }
    return result
  }

  subscript(_ setting: Setting) -> [Value] { values[setting] ?? [] }
}

/// One thing that is wrong with the configuration: where, what, and what to do.
struct ConfigurationProblem: Error, Sendable, Hashable, CustomStringConvertible {
  /// `-fp`, `/etc/handoff.yaml:3:5`, or empty when it is nowhere.
  var place: String
  /// Line and column when it is in a file.
  fileprivate var position: (line: Int, column: Int) {
    let numbers = place.split(separator: ":").suffix(2).compactMap { Int($0) }
    return numbers.count == 2 ? (numbers[0], numbers[1]) : (0, 0)
  }
  var problem: String
  var remedy: String

  init(_ place: String, _ problem: String, remedy: String) {
    self.place = place
    self.problem = problem
    self.remedy = remedy
  }

  init(_ value: SettingValues.Value, of setting: Setting, _ problem: String, remedy: String) {
    // An option names its setting already, a place in a file does not.
    let name = if case .file = value.source { "\(setting.rawValue): " } else { "" }
    self.init("\(value.source)", "\(name)'\(value.text)' \(problem)", remedy: remedy)
  }

  var description: String {
    (place.isEmpty ? "" : "\(place): ") + "\(problem). \(remedy)" + (remedy.hasSuffix("?") ? "" : ".")
  }
}

/// All problems at once: nobody likes to fix a file one error per start.
struct ConfigurationProblems: Error, Sendable, Hashable, CustomStringConvertible {
  var all: [ConfigurationProblem]

  init(all: [ConfigurationProblem]) { self.all = all }

  /// Those of a file last, from its top to its bottom.
  init(inOrder problems: [ConfigurationProblem]) { all = problems.sorted { $0.position < $1.position } }

  var description: String { all.map { "\($0)" }.joined(separator: "\n") }
}
