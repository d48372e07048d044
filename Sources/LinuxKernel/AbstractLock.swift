// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// A name that one process of a network namespace can hold: an abstract unix socket (unix(7)), which the kernel frees when
/// the process ends, however it ends.
public struct AbstractLock: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor

  /// - Parameter name: at most 100 bytes.
  /// - Throws: EADDRINUSE when another process holds the name.
  public init(_ name: String) throws(SystemError) {
    let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let socket = OwnedDescriptor(owning: try Syscall.call("socket") { Glibc.socket(AF_UNIX, type, 0) })
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(name.utf8.prefix(100))
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { path in
      for (index, byte) in bytes.enumerated() { unsafe path[index + 1] = byte }
    }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + 1 + bytes.count)
    let raw = socket.raw
    do {
      _ = try Syscall.call("bind") {
        unsafe withUnsafePointer(to: &address) {
          unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe bind(raw, $0, length) }
        }
      }
    } catch {
      throw error.on("@\(name)")
    }
    descriptor = socket
  }
}

extension AbstractLock {
  /// Whether a process of the calling thread's network namespace holds the name. Takes nothing: a role that starts at this
  /// moment is not held up.
  public static func isHeld(_ name: String) -> Bool {
    guard let text = try? SystemFile.text(of: "/proc/thread-self/net/unix", limit: 64 << 20) else { return false }
    return text.split(separator: "\n").contains { $0.hasSuffix(" @\(name)") }
  }
}
