// SPDX-License-Identifier: Apache-2.0

/// What one check of a node found: the kernel, a setting, a right, a listener. Sentences are for operators, without a full
/// stop.
public struct DoctorFinding: Sendable, Hashable {
  /// Who needs what was checked.
  public enum Subject: String, Sendable, Hashable, CaseIterable {
    case node
    case dispatcher
    case distributor
    case backEnd = "back-end"
  }

  public enum Verdict: Sendable, Hashable {
    /// It is as it should be; what was found.
    case ok(String)
    /// The node runs without it.
    ///
    /// - Parameters:
    ///   - loss: what it does not do, or does worse.
    case lost(String, loss: String, remedy: String)
    /// The node cannot run without it.
    case missing(String, remedy: String)
  }

  public var subject: Subject
  /// What was looked at: a few words, the same at each run.
  public var check: String
  public var verdict: Verdict

  public init(_ subject: Subject, _ check: String, _ verdict: Verdict) {
    self.subject = subject
    self.check = check
    self.verdict = verdict
  }

  /// Something that is there or not, by the importance that it has: `problem` says why not.
  public init(
    _ subject: Subject, _ check: String, found: String, problem: String?, isNeeded: Bool, loss: String, remedy: String
  ) {
    let verdict: Verdict =
      switch problem {
      case nil: .ok(found)
      case let problem? where isNeeded: .missing(problem, remedy: remedy)
      case let problem?: .lost(problem, loss: loss, remedy: remedy)
      }
    self.init(subject, check, verdict)
  }

  public var isMissing: Bool {
    if case .missing = verdict { true } else { false }
  }

  public var isLost: Bool {
    if case .lost = verdict { true } else { false }
  }
}

extension DoctorFinding.Verdict {
  /// `ok`, `lost` or `missing`.
  public var word: String {
    switch self {
    case .ok: "ok"
    case .lost: "lost"
    case .missing: "missing"
    }
  }
}
