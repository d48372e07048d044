// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Lets one process at a time play a part in a network namespace: an abstract unix socket, which belongs to the
/// namespace, needs no file and vanishes with its owner, however that ends.
public struct NamespaceLock: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor

  /// - Throws: EADDRINUSE when another process has the lock of this name.
  public init(_ name: String) throws(SystemError) {
    let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let descriptor = OwnedDescriptor(owning: try Syscall.call("socket") { socket(AF_UNIX, type, 0) })
    let raw = descriptor.raw
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(name.utf8.prefix(100))
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { path in
      // A leading zero byte makes the name abstract (unix(7)).
      for (index, byte) in bytes.enumerated() { unsafe path[index + 1] = byte }
    }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + 1 + bytes.count)
    do {
      _ = try Syscall.call("bind") {
        unsafe withUnsafePointer(to: &address) {
          unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe bind(raw, $0, length) }
        }
      }
    } catch {
      throw error.on("lock \(name)")
    }
    self.descriptor = descriptor
  }
}
