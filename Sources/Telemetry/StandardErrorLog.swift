// SPDX-License-Identifier: Apache-2.0

public import LinuxKernel
public import Logging
import Synchronization

/// The log level of the whole process; loggers follow it while it changes.
public final class SharedLogLevel: Sendable {
  private let index: Atomic<Int>

  public init(_ level: Logger.Level) { index = Atomic(SharedLogLevel.index(of: level)) }

  public var level: Logger.Level {
    get { Logger.Level.allCases[index.load(ordering: .relaxed)] }
    set { index.store(SharedLogLevel.index(of: newValue), ordering: .relaxed) }
  }

  private static func index(of level: Logger.Level) -> Int { Logger.Level.allCases.firstIndex(of: level) ?? 0 }
}

/// Writes log lines to standard error, one write per line.
public struct StandardErrorLog: LogHandler {
  private let label: String
  private let format: LogFormat
  private let shared: SharedLogLevel
  private let sink: @Sendable (String) -> Void
  private var own: Logger.Level?

  public var metadata: Logger.Metadata = [:]
  public var metadataProvider: Logger.MetadataProvider?

  /// - Parameters:
  ///   - shared: the level for loggers that were not given one of their own.
  ///   - sink: takes whole lines; standard error unless a test wants them.
  public init(
    label: String, format: LogFormat, level shared: SharedLogLevel,
    sink: @escaping @Sendable (String) -> Void = { StandardStream.error.write($0) }
  ) {
    self.label = label
    self.format = format
    self.shared = shared
    self.sink = sink
  }

  public var logLevel: Logger.Level {
    get { own ?? shared.level }
    set { own = newValue }
  }

  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  public func log(event: LogEvent) {
    var all = metadata
    if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
    if let given = event.metadata { all.merge(given) { $1 } }
    if let error = event.error { all["error"] = "\(error)" }
    sink(
      format.line(
        microseconds: WallClock.microseconds(), level: event.level, label: label, message: "\(event.message)",
        metadata: all))
  }
}
