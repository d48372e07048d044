// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Small files that outlive a process: what it changed in the kernel and must be undone.
enum StateFile {
  /// - Parameter creating: false for files of the kernel, which exist or not.
  static func write(_ text: String, to path: String, creating: Bool = true) throws(SystemError) {
    do throws(SystemError) {
      let flags = creating ? O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC : O_WRONLY | O_CLOEXEC
      let file = OwnedDescriptor(owning: try Syscall.call("open") { unsafe open(path, flags, 0o600) })
      let raw = file.raw
      let bytes = Array(text.utf8)
      // The kernel takes a setting in one write; a file of some bytes is written whole as well.
      _ = try Syscall.call("write") {
        unsafe bytes.withUnsafeBytes { unsafe Glibc.write(raw, $0.baseAddress, $0.count) }
      }
    } catch {
      throw error.on(path)
    }
  }

  /// Replaces a file so that a crash leaves the old or the new one.
  static func replace(_ path: String, with text: String) throws(SystemError) {
    let temporary = path + "~"
    _ = try whileDirectoriesGo(path) { () throws(SystemError) -> Int32? in
      try write(text, to: temporary)
      return try Syscall.call("rename") { unsafe rename(temporary, path) }
    }
  }

  static func makeDirectories(_ path: String) throws(SystemError) {
    for _ in 0..<repetitions {
      do throws(SystemError) {
        return try makeDirectoriesOnce(path)
      } catch {
        if error.errno != ENOENT { throw error }
      }
    }
    throw SystemError("mkdir", path, errno: ENOENT)
  }

  /// How often something is tried again whose directory has gone: each time another process' clean stop was faster.
  private static let repetitions = 1000

  /// - Throws: ENOENT when a directory that was there, or just made, has gone.
  private static func makeDirectoriesOnce(_ path: String) throws(SystemError) {
    var prefix = ""
    for part in path.split(separator: "/") {
      prefix += "/\(part)"
      do throws(SystemError) {
        _ = try Syscall.call("mkdir") { unsafe mkdir(prefix, 0o755) }
      } catch {
        if error.errno != EEXIST { throw error.on(prefix) }
      }
    }
  }

  /// Runs `body` while no other process does so with the same file.
  static func whileLocked(_ path: String, _ body: () throws(SystemError) -> Void) throws(SystemError) {
    let file = try lock(path)
    try body()
    // Closing the descriptor unlocks.
    _ = consume file
  }

  /// The lock file may be removed by whoever holds it, with its directory: who waited for it then makes both anew.
  private static func lock(_ path: String) throws(SystemError) -> OwnedDescriptor {
    try whileDirectoriesGo(path) { () throws(SystemError) -> OwnedDescriptor? in
      let raw = try Syscall.call("open") { unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600) }
      let file = OwnedDescriptor(owning: raw)
      _ = try Syscall.call("flock") { flock(raw, LOCK_EX) }
      var status = stat()
      _ = try Syscall.call("fstat") { unsafe fstat(raw, &status) }
      if status.st_nlink == 0 { return nil }
      return consume file
    }
  }

  /// Repeats `body` while it gives nil, or finds that the file's directory has gone, which is made again.
  private static func whileDirectoriesGo<Result: ~Copyable>(
    _ path: String, _ body: () throws(SystemError) -> Result?
  ) throws(SystemError) -> Result {
    for _ in 0..<repetitions {
      do throws(SystemError) {
        if let result = try body() { return result }
      } catch {
        guard error.errno == ENOENT, let slash = path.lastIndex(of: "/") else { throw error.on(path) }
        try makeDirectories(String(path[..<slash]))
      }
    }
    throw SystemError("open", path, errno: ENOENT)
  }

  /// Names in a directory that do not begin with a dot and are complete.
  static func names(in path: String) -> [String] {
    guard let directory = unsafe opendir(path) else { return [] }
    defer { unsafe closedir(directory) }
    var names: [String] = []
    while let entry = unsafe readdir(directory) {
      // SAFETY: d_name is zero-terminated by the kernel and lives until the next readdir.
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
        unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      if !name.hasPrefix("."), !name.hasSuffix("~") { names.append(name) }
    }
    return names
  }

  static func remove(_ path: String) { _ = unsafe unlink(path) }

  /// Removes a directory if it is empty.
  static func removeDirectory(_ path: String) { _ = unsafe rmdir(path) }
}
