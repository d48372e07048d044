// SPDX-License-Identifier: Apache-2.0

/// The Prometheus text exposition format, version 0.0.4.
public enum PrometheusText {
  public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

  /// One text for all families: sorted by name, families of one name merged (the format allows each name once), samples
  /// in the order in which their collectors gave them.
  ///
  /// The first family of a name sets help and kind. A sample with a name and labels that came before is left out: a
  /// scrape with duplicates would be refused as a whole.
  public static func render(_ families: [MetricFamily]) -> String {
    var order: [String] = []
    var byName: [String: MetricFamily] = [:]
    for family in families {
      if byName[family.name]?.samples.append(contentsOf: family.samples) == nil {
        byName[family.name] = family
        order.append(family.name)
      }
    }
    var text = ""
    for name in order.sorted() {
      guard let family = byName[name] else { continue }
      text += "# HELP \(name) \(escape(help: family.help))\n# TYPE \(name) \(family.kind.rawValue)\n"
      var seen: Set<String> = []
      for sample in family.samples {
        let series = name + sample.suffix + render(sample.labels)
        if seen.insert(series).inserted { text += "\(series) \(number(sample.value))\n" }
      }
    }
    return text
  }

  private static func render(_ labels: [MetricFamily.Label]) -> String {
    if labels.isEmpty { return "" }
    return "{" + labels.map { "\($0.name)=\"\(escape(label: $0.value))\"" }.joined(separator: ",") + "}"
  }

  /// Backslash and line feed.
  static func escape(help: String) -> String {
    var text = ""
    for scalar in help.unicodeScalars {
      switch scalar {
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text
  }

  /// Backslash, line feed and double quote.
  static func escape(label: String) -> String {
    var text = ""
    for scalar in label.unicodeScalars {
      switch scalar {
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\"": text += "\\\""
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text
  }

  /// The shortest text that reads back as the same value; whole numbers without fraction.
  static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    if value == value.rounded(), abs(value) < 9_007_199_254_740_992 { return "\(Int64(value))" }
    return "\(value)"
  }
}
