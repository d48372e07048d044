// SPDX-License-Identifier: Apache-2.0

public import ControlProtocol

/// Connections of one event loop.
public struct LoadTotals: Hashable, Sendable, BitwiseCopyable {
  /// Open now.
  public var active: UInt64
  /// Ended since the loop started, without those that the distributor aborted: it returns their assignment itself.
  public var ended: UInt64

  public init(active: UInt64 = 0, ended: UInt64 = 0) {
    self.active = active
    self.ended = ended
  }

  public static func + (left: LoadTotals, right: LoadTotals) -> LoadTotals {
    LoadTotals(active: left.active + right.active, ended: left.ended + right.ended)
  }
}

/// What the dispatcher was told, and what it must be told next.
public struct LoadAccount: Hashable, Sendable {
  private var reportedEnded: UInt64 = 0
  private var lastReport: LoadReport?

  public init() {}

  /// A new control connection: its reports count from now on, and the first one is due whatever it says.
  public mutating func connectionEstablished(_ totals: LoadTotals) {
    reportedEnded = totals.ended
    lastReport = nil
  }

  /// The report that is due, nil when the dispatcher knows everything.
  ///
  /// - Parameter countsToo: report a change of the active count alone; without it only ends and states are news, because the
  ///   dispatcher itself counts what it assigns.
  public mutating func report(_ totals: LoadTotals, state: BackEndState, countsToo: Bool) -> LoadReport? {
    let report = LoadReport(
      ended: UInt32(clamping: totals.ended - reportedEnded), active: UInt32(clamping: totals.active), state: state)
    if let lastReport, report.ended == 0, report.state == lastReport.state,
      !countsToo || report.active == lastReport.active
    {
      return nil
    }
    reportedEnded = totals.ended
    lastReport = report
    return report
  }
}
