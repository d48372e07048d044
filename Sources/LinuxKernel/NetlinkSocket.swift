// SPDX-License-Identifier: Apache-2.0

import CLinux
import Clibmnl
import Glibc

/// A netlink socket, for requests whose answer the kernel gives at once. Owned by one thread.
@safe
public struct NetlinkSocket: ~Copyable {
  public enum Family: Int32, Sendable {
    /// Addresses, links, routes, rules.
    case route = 0
    /// Sockets by their 4-tuple.
    case socketDiagnostics = 4
    /// What devices can do, among much else.
    case generic = 16
  }

  private let socket: OpaquePointer
  private var sequence: UInt32 = 0
  private var buffer: [UInt8]

  /// Multicast groups of `.route`, as bits for `init` (RTMGRP_*).
  public struct Groups: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let addresses = Groups(rawValue: 0x10 | 0x100)
  }

  /// - Parameter groups: notifications to receive; such a socket should be used for nothing else.
  public init(_ family: Family, listeningTo groups: Groups = []) throws(SystemError) {
    guard let socket = unsafe mnl_socket_open2(family.rawValue, O_CLOEXEC | 0x800) else {
      throw SystemError("socket", "netlink family \(family.rawValue)", errno: errno)
    }
    guard unsafe mnl_socket_bind(socket, groups.rawValue, 0) == 0 else {
      let code = errno
      unsafe mnl_socket_close(socket)
      throw SystemError("bind", "netlink family \(family.rawValue)", errno: code)
    }
    unsafe self.socket = socket
    buffer = Array(repeating: 0, count: 32 << 10)
  }

  deinit { unsafe mnl_socket_close(socket) }

  /// For epoll.
  public var raw: Int32 { unsafe mnl_socket_get_fd(socket) }

  /// Sends a request and gives each message of the answer; ends at the acknowledgement, the end of the dump, or for a
  /// plain request (no NLM_F_ACK, no NLM_F_DUMP) after the first message.
  ///
  /// - Throws: the kernel's answer as errno, with `call` as its name.
  mutating func exchange(
    _ request: borrowing NetlinkRequest, call: String, single: Bool = false, _ body: (NetlinkReply) -> Void = { _ in }
  ) throws(SystemError) {
    sequence &+= 1
    let raw = self.raw
    let number = sequence
    _ = try Syscall.call("send") {
      unsafe request.withBytes(sequence: number) { unsafe send(raw, $0.baseAddress, $0.count, 0) }
    }
    while true {
      let count = try receive()
      var offset = 0
      while let message = next(&offset, count) {
        if message.sequence != number { continue }
        switch message.reply.type {
        case 2:  // NLMSG_ERROR: 0 is the acknowledgement
          let code = -message.reply.native(at: 0, as: Int32.self)
          if code == 0 { return }
          throw SystemError(call, errno: code)
        case 3:  // NLMSG_DONE
          return
        default:
          body(message.reply)
          if single { return }
        }
      }
    }
  }

  /// Takes all pending notifications, and tells whether there were any or some were lost.
  public mutating func drainNotifications() -> Bool {
    var any = false
    let raw = self.raw
    while true {
      let count = unsafe buffer.withUnsafeMutableBytes { unsafe recv(raw, $0.baseAddress, $0.count, 0) }
      if count > 0 {
        any = true
        continue
      }
      // ENOBUFS: the queue overran, so something happened.
      if count < 0, errno == ENOBUFS {
        any = true
        continue
      }
      return any
    }
  }

  private mutating func receive() throws(SystemError) -> Int {
    let raw = self.raw
    while true {
      let count = try Syscall.callUnlessBlocked("recv") {
        unsafe buffer.withUnsafeMutableBytes { unsafe recv(raw, $0.baseAddress, $0.count, 0) }
      }
      if let count { return count }
      // Answers of these families are queued before send returns; only a dump's later parts are not there yet.
      var poller = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
      _ = try Syscall.call("poll") { unsafe poll(&poller, 1, 1000) }
      if poller.revents == 0 { throw SystemError("recv", "netlink", errno: ETIMEDOUT) }
    }
  }

  private func next(_ offset: inout Int, _ count: Int) -> (sequence: UInt32, reply: NetlinkReply)? {
    guard offset + 16 <= count else { return nil }
    let header = NetlinkReply(type: 0, body: Array(buffer[offset..<offset + 16]))
    let length = Int(header.native(at: 0, as: UInt32.self))
    guard length >= 16, offset + length <= count else { return nil }
    let reply = NetlinkReply(
      type: header.native(at: 4, as: UInt16.self), body: Array(buffer[offset + 16..<offset + length]))
    offset += (length + 3) & ~3
    return (header.native(at: 8, as: UInt32.self), reply)
  }
}
