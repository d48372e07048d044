// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// All that was found at a node, as text and as JSON.
public struct DoctorReport: Sendable, Hashable {
  public var findings: [DoctorFinding]

  public init(_ findings: [DoctorFinding]) { self.findings = findings }

  /// Nothing is missing: the node can run, with the losses that the findings say.
  public var canRun: Bool { !findings.contains(where: \.isMissing) }

  private func count(_ word: String) -> Int { findings.count { $0.verdict.word == word } }

  /// One line for each finding, and one with the sums.
  public var text: String {
    let subjects = DoctorFinding.Subject.allCases.map(\.rawValue.count).max() ?? 0
    let checks = findings.map(\.check.count).max() ?? 0
    var text = ""
    for finding in findings {
      let sentence =
        switch finding.verdict {
        case .ok(let found): found
        case .lost(let problem, let loss, let remedy): "\(problem). Lost: \(loss). To do: \(remedy)"
        case .missing(let problem, let remedy): "\(problem). To do: \(remedy)"
        }
      // What a verifier says has lines of its own.
      let line = sentence.split(whereSeparator: \.isNewline).joined(separator: " | ")
      let columns = [(finding.verdict.word, 9), (finding.subject.rawValue, subjects + 2), (finding.check, checks + 2)]
      text += columns.map(DoctorReport.pad).joined() + line + "\n"
    }
    return text + "\(count("ok")) ok, \(count("lost")) lost, \(count("missing")) missing\n"
  }

  /// One object with the same content and a final newline. Names of fields are part of the interface: scripts read them.
  public var json: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let object = Object(
      canRun: canRun, ok: count("ok"), lost: count("lost"), missing: count("missing"),
      findings: findings.map(Entry.init))
    // Every field is a number, a text or a list of them: encoding cannot fail.
    guard let data = try? encoder.encode(object) else { return "{}\n" }
    return String(decoding: data, as: UTF8.self) + "\n"
  }

  private static func pad(_ text: String, _ length: Int) -> String {
    text + String(repeating: " ", count: max(1, length - text.count))
  }

  private struct Object: Encodable {
    var canRun: Bool
    var ok: Int
    var lost: Int
    var missing: Int
    var findings: [Entry]

    enum CodingKeys: String, CodingKey {
      case ok, lost, missing, findings
      case canRun = "can_run"
    }
  }

  private struct Entry: Encodable {
    var subject: String
    var check: String
    var state: String
    var found: String
    var loss: String?
    var remedy: String?

    init(_ finding: DoctorFinding) {
      subject = finding.subject.rawValue
      check = finding.check
      state = finding.verdict.word
      switch finding.verdict {
      case .ok(let found): self.found = found
      case .lost(let problem, let loss, let remedy):
        found = problem
        self.loss = loss
        self.remedy = remedy
      case .missing(let problem, let remedy):
        found = problem
        self.remedy = remedy
      }
    }
  }
}
