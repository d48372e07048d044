// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// One datagram to a unix socket: the protocol of sd_notify(3).
public enum NotificationSocket {
  /// - Parameter path: as in NOTIFY_SOCKET: absolute, or `@name` for the abstract name space (unix(7)).
  public static func send(_ message: String, to path: String) throws(SystemError) {
    let address = try address(path)
    let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let socket = OwnedDescriptor(owning: try Syscall.call("socket") { Glibc.socket(AF_UNIX, type, 0) })
    let raw = socket.raw
    let bytes = Array(message.utf8)
    do throws(SystemError) {
      _ = try Syscall.call("sendto") {
        unsafe address.withPointer { target, length in
          unsafe bytes.withUnsafeBytes {
            unsafe sendto(raw, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL), target, length)
          }
        }
      }
    } catch {
      throw error.on(path)
    }
  }

  /// A sockaddr_un and how much of it counts.
  struct Address {
    var socket = sockaddr_un()
    var length: socklen_t = 0

    func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
      unsafe withUnsafePointer(to: socket) {
        unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, length) }
      }
    }
  }

  static func address(_ path: String) throws(SystemError) -> Address {
    var address = Address()
    address.socket.sun_family = sa_family_t(AF_UNIX)
    var name = Array(path.utf8)
    guard name.count > 1, name.first == UInt8(ascii: "/") || name.first == UInt8(ascii: "@"),
      name.count < MemoryLayout.size(ofValue: address.socket.sun_path)
    else { throw SystemError("sendto", path, errno: EINVAL) }
    // An abstract name begins with a zero byte, is not terminated, and counts by its length.
    let isAbstract = name.first == UInt8(ascii: "@")
    if isAbstract { name[0] = 0 }
    unsafe withUnsafeMutableBytes(of: &address.socket.sun_path) { unsafe $0.copyBytes(from: name) }
    address.length = socklen_t(MemoryLayout<sa_family_t>.size + name.count + (isAbstract ? 0 : 1))
    return address
  }
}

/// The other end: what a service manager has. For tools and tests that start nodes and wait for their READY.
public struct NotificationListener: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor
  /// For NOTIFY_SOCKET.
  public let path: String

  /// - Parameter name: in the abstract name space of the calling thread's network namespace, without the `@`.
  public init(name: String) throws(SystemError) {
    path = "@\(name)"
    descriptor = try NotificationListener.bound(to: path)
  }

  private static func bound(to path: String) throws(SystemError) -> OwnedDescriptor {
    let address = try NotificationSocket.address(path)
    let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
    let socket = OwnedDescriptor(owning: try Syscall.call("socket") { Glibc.socket(AF_UNIX, type, 0) })
    let raw = socket.raw
    do throws(SystemError) {
      _ = try Syscall.call("bind") { unsafe address.withPointer { unsafe bind(raw, $0, $1) } }
    } catch {
      throw error.on(path)
    }
    return socket
  }

  /// For an epoll.
  public var raw: Int32 { descriptor.raw }

  /// The next message, nil when none waits.
  public func next() -> String? {
    let raw = descriptor.raw
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = try? Syscall.callUnlessBlocked("recv") {
      unsafe bytes.withUnsafeMutableBytes { unsafe recv(raw, $0.baseAddress, $0.count, 0) }
    }
    guard let count else { return nil }
    return String(decoding: bytes[..<count], as: UTF8.self)
  }
}
