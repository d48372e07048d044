// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Yams

/// The YAML configuration file: one mapping from setting names to scalars, or to sequences of scalars for lists.
enum SettingsFile {
  static func load(_ path: String) throws(ConfigurationProblems) -> SettingValues {
    let text: String
    do {
      text = try SystemFile.text(of: path)
    } catch {
      throw ConfigurationProblems(all: [
        ConfigurationProblem(
          "--config", "'\(path)' cannot be read (\(error))", remedy: "Give the path of a readable YAML file")
      ])
    }
    return try parse(text, path: path)
  }

  static func parse(_ text: String, path: String) throws(ConfigurationProblems) -> SettingValues {
    let root: Node?
    do {
      root = try compose(yaml: text)
    } catch {
      throw ConfigurationProblems(all: [problem(of: error, path: path)])
    }
    // An empty file configures nothing.
    guard let root, root.scalar?.string != "" else { return SettingValues() }
    guard let mapping = root.mapping else {
      throw ConfigurationProblems(all: [
        ConfigurationProblem(
          "\(path):\(place(root))", "The file is no mapping", remedy: "Write one 'setting: value' per line")
      ])
    }
    var walk = Walk(path: path)
    for (key, value) in mapping { walk.read(key, value) }
    if !walk.problems.isEmpty { throw ConfigurationProblems(all: walk.problems) }
    return walk.values
  }

  private static func place(_ node: Node) -> String { node.mark?.description ?? "1:1" }

  static func problem(of error: any Error, path: String) -> ConfigurationProblem {
    let remedy = "Correct the YAML there"
    switch error {
    case YamlError.scanner(let context, let problem, let mark, _),
      YamlError.parser(let context, let problem, let mark, _),
      YamlError.composer(let context, let problem, let mark, _):
      let during = context.map { " (\($0.text))" } ?? ""
      return ConfigurationProblem("\(path):\(mark)", "This is no YAML: \(problem)\(during)", remedy: remedy)
    case YamlError.duplicatedKeysInMapping(let duplicates, let context):
      return ConfigurationProblem(
        "\(path):\(context.mark)", "These settings are given twice: \(duplicates.joined(separator: ", "))",
        remedy: "Keep one of each")
    case YamlError.reader(let problem, let offset, _, _):
      return ConfigurationProblem(
        path, "Not readable as text: \(problem) at byte \(offset ?? 0)", remedy: "Save the file as UTF-8")
    default:
      return ConfigurationProblem(path, "This is no YAML: \(error)", remedy: remedy)
    }
  }

  private struct Walk {
    let path: String
    var values = SettingValues()
    var problems: [ConfigurationProblem] = []

    mutating func read(_ key: Node, _ value: Node) {
      guard let name = key.scalar?.string else {
        return report(key, "A setting's name must be a word", remedy: "Write one 'setting: value' per line")
      }
      guard let setting = Setting(rawValue: name) else {
        let nearest = Suggestion.nearest(to: name, among: Setting.allCases.map(\.rawValue))
        let remedy = nearest.map { "Did you mean '\($0)'?" } ?? "cluster_startup --help lists all settings"
        return report(key, "There is no setting '\(name)'", remedy: remedy)
      }
      switch value {
      case .scalar(let scalar) where isNull(scalar):
        report(value, "'\(name)' has no value", remedy: "Give one or remove the line")
      case .scalar(let scalar): append(scalar, value, setting)
      case .sequence(let items) where setting.isList:
        for item in items {
          if let scalar = item.scalar, !isNull(scalar) {
            append(scalar, item, setting)
          } else {
            report(item, "An item of '\(name)' must be a single value", remedy: "Write each item as '- value'")
          }
        }
      case .sequence:
        report(value, "'\(name)' takes one value, not a list", remedy: "Write '\(name): value'")
      case .mapping, .alias:
        report(value, "'\(name)' takes a plain value", remedy: "Write '\(name): value'")
      }
    }

    private func isNull(_ scalar: Node.Scalar) -> Bool {
      scalar.style == .plain && ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }

    private mutating func append(_ scalar: Node.Scalar, _ node: Node, _ setting: Setting) {
      let mark = node.mark
      values.append(
        scalar.string, for: setting, from: .file(path, line: mark?.line ?? 1, column: mark?.column ?? 1))
    }

    private mutating func report(_ node: Node, _ problem: String, remedy: String) {
      problems.append(ConfigurationProblem("\(path):\(place(node))", problem, remedy: remedy))
    }
  }
}
