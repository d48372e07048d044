// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Kernel settings under /proc/sys. Those under `net` belong to the calling thread's network namespace.
public enum Sysctl {
  /// - Parameter key: the path below /proc/sys, such as `net/ipv4/conf/all/rp_filter`.
  /// - Throws: ENOENT when the kernel (or an absent interface) has no such setting.
  public static func read(_ key: String) throws(SystemError) -> String {
    let text = try SystemFile.text(of: "/proc/sys/\(key)")
    return String(text.prefix { $0 != "\n" })
  }

  /// - Throws: EACCES or EPERM without the right, EROFS where /proc/sys is mounted read-only (containers).
  public static func write(_ key: String, _ value: String) throws(SystemError) {
    try StateFile.write(value + "\n", to: "/proc/sys/\(key)", creating: false)
  }
}

/// Settings that roles change while they run. The value found first is kept in a file per setting and put back when the
/// last role that needs the setting ends; the roles of one network namespace may come and go in any order, and may have been
/// killed. Files live under a directory named by boot and namespace cookie, so they never meet another namespace.
public struct SysctlOverrides: Sendable {
  /// The network namespace's.
  private let parent: String
  private let directory: String
  private let holder: String

  /// Also puts back what an earlier process of the same role left.
  ///
  /// - Parameters:
  ///   - holder: the role, unique in the network namespace.
  ///   - stateDirectory: where the found values are kept; must not survive a reboot usefully (`/run`).
  public init(holder: String, stateDirectory: String = "/run/handoff") throws(SystemError) {
    self.holder = holder
    parent = "\(stateDirectory)/\(try NamespaceIdentity.current())"
    directory = "\(parent)/sysctl"
    try StateFile.makeDirectories(directory)
    release()
  }

  /// Sets a value and remembers the one before.
  public func set(_ key: String, to value: String) throws(SystemError) {
    try StateFile.whileLocked("\(directory)/lock") { () throws(SystemError) in
      let path = self.path(of: key)
      var record: Record
      if let known = (try? SystemFile.text(of: path)).flatMap(Record.init) {
        record = known
      } else {
        record = Record(original: try Sysctl.read(key), holders: [])
      }
      if !record.holders.contains(holder) {
        record.holders.append(holder)
        try StateFile.replace(path, with: record.text)
      }
      if try Sysctl.read(key) != value { try Sysctl.write(key, value) }
    }
  }

  /// Gives up every setting of this role; those that nobody else holds get their first value back. With the last record the
  /// directories go.
  public func release() {
    try? StateFile.whileLocked("\(directory)/lock") { () throws(SystemError) in
      for name in StateFile.names(in: directory) where name != "lock" { release("\(directory)/\(name)", key(of: name)) }
      guard StateFile.names(in: directory) == ["lock"] else { return }
      StateFile.remove("\(directory)/lock")
      StateFile.removeDirectory(directory)
      StateFile.removeDirectory(parent)
    }
  }

  private func release(_ path: String, _ key: String) {
    guard var record = (try? SystemFile.text(of: path)).flatMap(Record.init),
      let index = record.holders.firstIndex(of: holder)
    else { return }
    record.holders.remove(at: index)
    if record.holders.isEmpty {
      // An interface that is gone took its setting with it.
      try? Sysctl.write(key, record.original)
      StateFile.remove(path)
    } else {
      try? StateFile.replace(path, with: record.text)
    }
  }

  /// Interface names hold dots, never commas in practice; a comma stands for the slash of the path.
  private func path(of key: String) -> String { "\(directory)/" + key.map { $0 == "/" ? "," : String($0) }.joined() }
  private func key(of name: String) -> String { name.map { $0 == "," ? "/" : String($0) }.joined() }

  private struct Record {
    var original: String
    var holders: [String]

    init(original: String, holders: [String]) {
      self.original = original
      self.holders = holders
    }

    init?(_ text: String) {
      let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
      guard lines.count >= 2 else { return nil }
      original = lines[0]
      holders = lines.dropFirst().filter { !$0.isEmpty }
    }

    var text: String { ([original] + holders).joined(separator: "\n") + "\n" }
  }
}

/// Names a network namespace uniquely among all that ever lived since boot; an inode number is used again.
public enum NamespaceIdentity {
  public static func current() throws(SystemError) -> String {
    let boot = try SystemFile.text(of: "/proc/sys/kernel/random/boot_id").prefix(8)
    return "\(boot)-\(try cookie())"
  }

  /// SO_NETNS_COOKIE (Linux 5.14): names the calling thread's network namespace as long as the kernel runs.
  public static func cookie() throws(SystemError) -> UInt64 {
    let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let socket = OwnedDescriptor(owning: try Syscall.call("socket") { Glibc.socket(AF_UNIX, type, 0) })
    let raw = socket.raw
    var value: UInt64 = 0
    var length = socklen_t(8)
    _ = try Syscall.call("getsockopt") { unsafe getsockopt(raw, SOL_SOCKET, 71, &value, &length) }
    return value
  }
}

extension Sysctl {
  /// Why a setting cannot be written, nil when it can. Nothing is written.
  public static func writingObstacle(_ key: String) -> SystemError? {
    let path = "/proc/sys/\(key)"
    do {
      _ = OwnedDescriptor(owning: try Syscall.call("open") { unsafe open(path, O_WRONLY | O_CLOEXEC) })
      return nil
    } catch {
      return error.on(path)
    }
  }
}
