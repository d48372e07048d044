// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Whole files of /proc and /sys, and small configuration files.
public enum SystemFile {
  /// The bytes of a file.
  ///
  /// - Parameter limit: throws EFBIG for a file that is longer.
  public static func bytes(of path: String, limit: Int = 1 << 20) throws(SystemError) -> [UInt8] {
    do throws(SystemError) {
      let file = OwnedDescriptor(owning: try Syscall.call("open") { unsafe open(path, O_RDONLY | O_CLOEXEC) })
      let raw = file.raw
      var bytes: [UInt8] = []
      var chunk = [UInt8](repeating: 0, count: 4096)
      while true {
        let count = try Syscall.call("read") {
          unsafe chunk.withUnsafeMutableBytes { unsafe Glibc.read(raw, $0.baseAddress, $0.count) }
        }
        if count == 0 { return bytes }
        bytes += chunk[..<count]
        if bytes.count > limit { throw SystemError("read", errno: EFBIG) }
      }
    } catch {
      throw error.on(path)
    }
  }

  /// A file as text; bytes that are no UTF-8 become U+FFFD.
  public static func text(of path: String, limit: Int = 1 << 20) throws(SystemError) -> String {
    String(decoding: try bytes(of: path, limit: limit), as: UTF8.self)
  }

  /// Number of entries of a directory, without `.` and `..`; nil when it cannot be read.
  public static func entryCount(of path: String) -> Int? {
    guard let directory = unsafe opendir(path) else { return nil }
    defer { unsafe closedir(directory) }
    var count = 0
    while unsafe readdir(directory) != nil { count += 1 }
    return max(0, count - 2)
  }

  /// Whether this process may run the file at `path`.
  public static func isReadable(_ path: String) -> Bool { unsafe access(path, R_OK) == 0 }

  public static func isWritable(_ path: String) -> Bool { unsafe access(path, W_OK) == 0 }

  public static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

  public static func isExecutable(_ path: String) -> Bool { unsafe access(path, X_OK) == 0 }
}
