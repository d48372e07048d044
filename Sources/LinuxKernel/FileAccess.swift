// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Whole files, for tools and tests; never on the data path.
public enum FileAccess {
  /// Opens a file for appending and makes it when it is missing (mode 0644).
  public static func openForAppending(_ path: String) throws(SystemError) -> OwnedDescriptor {
    try open(path, O_WRONLY | O_CREAT | O_APPEND)
  }

  /// Reads a whole file; works for /proc too, whose files have no length.
  public static func read(_ path: String) throws(SystemError) -> [UInt8] {
    let descriptor = try open(path, O_RDONLY)
    return try read(descriptor.raw, path)
  }

  /// Writes a whole file, replacing what it held (mode 0644).
  public static func write(_ bytes: [UInt8], to path: String) throws(SystemError) {
    let descriptor = try open(path, O_WRONLY | O_CREAT | O_TRUNC)
    try write(bytes, descriptor.raw, path)
  }

  static func write(_ bytes: [UInt8], _ raw: Int32, _ path: String) throws(SystemError) {
    var offset = 0
    while offset < bytes.count {
      let start = offset
      do {
        offset += try Syscall.call("write") {
          unsafe bytes.withUnsafeBytes { unsafe Glibc.write(raw, $0.baseAddress! + start, $0.count - start) }
        }
      } catch {
        throw error.on(path)
      }
    }
  }

  static func read(_ raw: Int32, _ path: String) throws(SystemError) -> [UInt8] {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count: Int
      do {
        count = try Syscall.call("read") {
          unsafe chunk.withUnsafeMutableBytes { unsafe Glibc.read(raw, $0.baseAddress, $0.count) }
        }
      } catch {
        throw error.on(path)
      }
      if count == 0 { return bytes }
      bytes += chunk[..<count]
    }
  }

  private static func open(_ path: String, _ flags: Int32) throws(SystemError) -> OwnedDescriptor {
    do {
      return OwnedDescriptor(owning: try Syscall.call("open") { unsafe Glibc.open(path, flags | O_CLOEXEC, 0o644) })
    } catch {
      throw error.on(path)
    }
  }
}

/// A file without a name that lives in memory (memfd_create): the standard streams of a child.
public struct MemoryFile: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor

  public init(_ contents: [UInt8] = []) throws(SystemError) {
    let file = OwnedDescriptor(owning: try Syscall.call("memfd_create") { unsafe clinux_memfd_create("lab") })
    try FileAccess.write(contents, file.raw, "a memory file")
    try Self.rewind(file.raw)
    descriptor = file
  }

  public var raw: Int32 { descriptor.raw }

  /// All that was written.
  public func contents() throws(SystemError) -> [UInt8] {
    try Self.rewind(descriptor.raw)
    return try FileAccess.read(descriptor.raw, "a memory file")
  }

  private static func rewind(_ raw: Int32) throws(SystemError) {
    _ = try Syscall.call("lseek") { lseek(raw, 0, SEEK_SET) }
  }
}

/// The variables that this process was started with.
public enum ProcessEnvironment {
  public static let values: [String: String] = {
    var values: [String: String] = [:]
    guard let bytes = try? FileAccess.read("/proc/self/environ") else { return values }
    for entry in bytes.split(separator: 0) {
      let parts = entry.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2 else { continue }
      values[String(decoding: parts[0], as: UTF8.self)] = String(decoding: parts[1], as: UTF8.self)
    }
    return values
  }()
}
