// SPDX-License-Identifier: Apache-2.0

import Logging

/// How one log line looks.
public enum LogFormat: String, Sendable, CaseIterable {
  /// `2026-01-31T08:05:03.012345Z info  distributor: ready key=value`
  case text
  /// One JSON object per line, keys `time`, `level`, `logger`, `message`, then the metadata under `metadata`.
  case json

  /// One line with its line feed. Control characters of any part are escaped: a peer's bytes cannot forge lines.
  func line(
    microseconds: Int64, level: Logger.Level, label: String, message: String, metadata: Logger.Metadata
  ) -> String {
    let time = Timestamp.rfc3339(microseconds: microseconds)
    switch self {
    case .text:
      var line = "\(time) \(level.rawValue)"
      line += String(repeating: " ", count: max(1, 9 - level.rawValue.count)) + "\(label): "
      JSONText.escape(message, into: &line, quotes: false)
      for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
        line += " \(key)="
        let text = "\(value)"
        if text.isEmpty || text.contains(where: { $0 == " " || $0 == "\"" || $0 == "=" }) {
          JSONText.quote(text, into: &line)
        } else {
          JSONText.escape(text, into: &line, quotes: false)
        }
      }
      return line + "\n"
    case .json:
      var line = "{\"time\":\"\(time)\",\"level\":\"\(level.rawValue)\",\"logger\":"
      JSONText.quote(label, into: &line)
      line += ",\"message\":"
      JSONText.quote(message, into: &line)
      if !metadata.isEmpty {
        line += ",\"metadata\":"
        JSONText.append(.dictionary(metadata), to: &line)
      }
      return line + "}\n"
    }
  }
}

/// Just as much JSON as a log line needs.
enum JSONText {
  static func quote(_ text: String, into line: inout String) {
    line += "\""
    escape(text, into: &line, quotes: true)
    line += "\""
  }

  /// Escapes control characters, and with `quotes` also what ends a JSON string.
  static func escape(_ text: String, into line: inout String, quotes: Bool) {
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\n": line += "\\n"
      case "\r": line += "\\r"
      case "\t": line += "\\t"
      case "\"" where quotes: line += "\\\""
      case "\\" where quotes: line += "\\\\"
      case _ where scalar.value < 0x20 || (0x7f..<0xa0).contains(scalar.value):
        let digits = String(scalar.value, radix: 16)
        line += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: line.unicodeScalars.append(scalar)
      }
    }
  }

  static func append(_ value: Logger.MetadataValue, to line: inout String) {
    switch value {
    case .string(let text): quote(text, into: &line)
    case .stringConvertible(let value): quote("\(value)", into: &line)
    case .array(let values):
      line += "["
      for (index, value) in values.enumerated() {
        if index > 0 { line += "," }
        append(value, to: &line)
      }
      line += "]"
    case .dictionary(let values):
      line += "{"
      for (index, entry) in values.sorted(by: { $0.key < $1.key }).enumerated() {
        if index > 0 { line += "," }
        quote(entry.key, into: &line)
        line += ":"
        append(entry.value, to: &line)
      }
      line += "}"
    }
  }
}

enum Timestamp {
  /// `2026-01-31T08:05:03.012345Z`, from microseconds since 1970.
  static func rfc3339(microseconds: Int64) -> String {
    let (second, micro) = microseconds.quotientAndRemainder(dividingBy: 1_000_000)
    let (day, ofDay) = second.quotientAndRemainder(dividingBy: 86_400)
    let date = civil(daysSince1970: day)
    func pad(_ value: Int64, _ width: Int) -> String {
      let text = "\(value)"
      return String(repeating: "0", count: max(0, width - text.count)) + text
    }
    return "\(pad(date.year, 4))-\(pad(date.month, 2))-\(pad(date.day, 2))"
      + "T\(pad(ofDay / 3_600, 2)):\(pad(ofDay / 60 % 60, 2)):\(pad(ofDay % 60, 2)).\(pad(micro, 6))Z"
  }

  /// Gregorian date of a day after 1970-01-01. Years are counted from March, so that the leap day is the last one.
  private static func civil(daysSince1970 days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = days + 719_468
    let era = shifted / 146_097
    let ofEra = shifted % 146_097
    let yearOfEra = (ofEra - ofEra / 1_460 + ofEra / 36_524 - ofEra / 146_096) / 365
    let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let march = (5 * ofYear + 2) / 153
    let month = march < 10 ? march + 3 : march - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, ofYear - (153 * march + 2) / 5 + 1)
  }
}
