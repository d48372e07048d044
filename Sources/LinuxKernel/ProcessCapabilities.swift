// SPDX-License-Identifier: Apache-2.0

/// The effective capabilities of this process (capabilities(7)).
public struct ProcessCapabilities: OptionSet, Sendable, Hashable {
  public let rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  public static let networkAdministration = ProcessCapabilities(rawValue: 1 << 12)
  public static let rawSockets = ProcessCapabilities(rawValue: 1 << 13)
  public static let bpf = ProcessCapabilities(rawValue: 1 << 39)
  public static let performanceMonitoring = ProcessCapabilities(rawValue: 1 << 38)
  public static let systemAdministration = ProcessCapabilities(rawValue: 1 << 21)
  /// CAP_NET_BIND_SERVICE.
  public static let lowPorts = ProcessCapabilities(rawValue: 1 << 10)

  /// Those of the calling thread; empty when /proc is not there.
  public static func effective() -> ProcessCapabilities {
    guard let text = try? SystemFile.text(of: "/proc/thread-self/status"),
      let line = text.split(separator: "\n").first(where: { $0.hasPrefix("CapEff:") }),
      let mask = UInt64(line.dropFirst(7).filter { $0 != "\t" && $0 != " " }, radix: 16)
    else { return [] }
    return ProcessCapabilities(rawValue: mask)
  }
}
