// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// One datagram to a unix socket: the protocol of sd_notify(3).
public enum NotificationSocket {
  /// - Parameter path: as in NOTIFY_SOCKET: absolute, or `@name` for the abstract name space (unix(7)).
  public static func send(_ message: String, to path: String) throws(SystemError) {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    var name = Array(path.utf8)
    guard name.count > 1, name.first == UInt8(ascii: "/") || name.first == UInt8(ascii: "@"),
      name.count < MemoryLayout.size(ofValue: address.sun_path)
    else { throw SystemError("sendto", path, errno: EINVAL) }
    // An abstract name begins with a zero byte, is not terminated, and counts by its length.
    let isAbstract = name.first == UInt8(ascii: "@")
    if isAbstract { name[0] = 0 }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: name) }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + name.count + (isAbstract ? 0 : 1))

    let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let socket = OwnedDescriptor(owning: try Syscall.call("socket") { Glibc.socket(AF_UNIX, type, 0) })
    let raw = socket.raw
    let bytes = Array(message.utf8)
    do throws(SystemError) {
      _ = try Syscall.call("sendto") {
        unsafe withUnsafePointer(to: address) { pointer in
          unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { target in
            unsafe bytes.withUnsafeBytes {
              unsafe sendto(raw, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL), target, length)
            }
          }
        }
      }
    } catch {
      throw error.on(path)
    }
  }
}
