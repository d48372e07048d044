// SPDX-License-Identifier: Apache-2.0

/// When an agent compares the connections that it counts with those that the kernel has: the kernel does not tell every end,
/// and does not count all that it leaves out. Asking for everything all the time would be a third of all that an agent costs.
public struct ComparisonPlan: Sendable {
  /// What to look at, of the connections that are older than most are when they end.
  public enum Look: Hashable, Sendable {
    case nothing
    /// A few, in turn.
    case some
    /// Each by itself; when they are many, a few in turn.
    case each
    /// Each by itself; when they are many, one dump of all.
    case eachOrAll
    case all
  }

  /// What a few are: about 0.1 ms in every sweep.
  public static let few = 16
  /// Beyond so many one dump is cheaper than looks at single connections.
  public static let many = 128
  /// Sweeps between dumps for no reason, as a connection can also end between the look that found it untold and its entry
  /// among those whose end is told.
  static let between = 60
  /// What ended untold just before a loss was seen is old enough after some sweeps.
  static let afterLoss = 4

  private var losses: UInt64 = 0
  private var lossSweeps = 0
  private var sinceDump = 0

  public init() {}

  /// Some losses are certain, or a dump failed: as after a loss.
  public mutating func suspect() { losses = .max }

  /// A dump was made.
  public mutating func dumped() { sinceDump = 0 }

  /// To be called once a second.
  ///
  /// - Parameters:
  ///   - losses: what the kernel has counted so far.
  ///   - isEnding: the agent waits for its connections' ends.
  public mutating func sweep(losses: UInt64, active: UInt64, isEnding: Bool) -> Look {
    if losses != self.losses {
      self.losses = losses
      lossSweeps = ComparisonPlan.afterLoss
    }
    sinceDump += 1
    if active == 0 { return .nothing }
    if sinceDump >= ComparisonPlan.between { return .all }
    // The agent's end waits for each of them.
    if isEnding { return .eachOrAll }
    if lossSweeps == 0 { return .some }
    lossSweeps -= 1
    return lossSweeps == 0 ? .eachOrAll : .each
  }
}
