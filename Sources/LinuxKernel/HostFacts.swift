// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What this host is, as far as a start needs to know.
public enum HostFacts {
  /// gethostname(2).
  public static func name() -> String {
    var buffer = [UInt8](repeating: 0, count: 256)
    let code = unsafe buffer.withUnsafeMutableBytes { bytes in
      unsafe gethostname(bytes.baseAddress!.assumingMemoryBound(to: CChar.self), bytes.count - 1)
    }
    guard code == 0, let end = buffer.firstIndex(of: 0), end > 0 else { return "localhost" }
    return String(decoding: buffer[..<end], as: UTF8.self)
  }

  /// Processors that are online.
  public static func processors() -> Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

  /// `6.1.0-13-amd64`.
  public static func kernelRelease() -> String {
    let text = (try? SystemFile.text(of: "/proc/sys/kernel/osrelease")) ?? ""
    return String(text.prefix { $0 != "\n" })
  }

  /// A variable of the environment that the process was started with.
  public static func environment(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
  }

  /// The first of the directories of PATH, or of the usual ones for administrators, that has the program.
  public static func program(_ name: String) -> String? {
    let directories = (environment("PATH") ?? "").split(separator: ":").map(String.init)
    return (directories + ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]).map { "\($0)/\(name)" }
      .first(where: SystemFile.isExecutable)
  }
}
