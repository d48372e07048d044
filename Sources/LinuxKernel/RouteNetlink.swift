// SPDX-License-Identifier: Apache-2.0

import CLinux
import Clibmnl
import Glibc

/// Reads the kernel's tables of interfaces, addresses and filters (rtnetlink(7)) by libmnl.
enum RouteNetlink {
  /// Asks for a dump and gives each message to `body`, as often as it takes to get a dump that nothing changed meanwhile.
  ///
  /// - Parameters:
  ///   - header: the fixed header that the request type wants (`ifinfomsg`, `ifaddrmsg`, `tcmsg`).
  ///   - reset: called before each attempt.
  static func dump<Header: BitwiseCopyable>(
    _ name: StaticString, type: Int, header: Header, reset: () -> Void, _ body: (UnsafePointer<nlmsghdr>) -> Void
  ) throws(SystemError) {
    guard let socket = unsafe mnl_socket_open2(NETLINK_ROUTE, Int32(SOCK_CLOEXEC.rawValue)) else {
      throw SystemError("\(name)", errno: errno)
    }
    defer { unsafe mnl_socket_close(socket) }
    for attempt in 1...16 {
      reset()
      if try unsafe attemptDump(name, socket, type, header, sequence: UInt32(attempt), body) { return }
    }
    throw SystemError("\(name)", errno: EBUSY)
  }

  /// False when the table changed meanwhile.
  private static func attemptDump<Header: BitwiseCopyable>(
    _ name: StaticString, _ socket: OpaquePointer, _ type: Int, _ header: Header, sequence: UInt32,
    _ body: (UnsafePointer<nlmsghdr>) -> Void
  ) throws(SystemError) -> Bool {
    // The size that the kernel's dumps are made for (NLMSG_GOODSIZE is at most 8192; larger reads get larger skbs).
    var buffer = [UInt64](repeating: 0, count: 4096)
    let length = unsafe buffer.withUnsafeMutableBytes { bytes -> Int in
      // SAFETY: the buffer has room for a netlink header and the fixed header, and is aligned for both.
      let request = unsafe mnl_nlmsg_put_header(bytes.baseAddress)!
      unsafe request.pointee.nlmsg_type = UInt16(type)
      unsafe request.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_DUMP)
      unsafe request.pointee.nlmsg_seq = sequence
      unsafe mnl_nlmsg_put_extra_header(request, MemoryLayout<Header>.size)!.storeBytes(of: header, as: Header.self)
      return Int(unsafe request.pointee.nlmsg_len)
    }
    _ = try Syscall.call(name) {
      unsafe buffer.withUnsafeBytes { unsafe mnl_socket_sendto(socket, $0.baseAddress, length) }
    }
    while true {
      let size = buffer.count * 8
      let count = try Syscall.call(name) {
        unsafe buffer.withUnsafeMutableBytes { unsafe mnl_socket_recvfrom(socket, $0.baseAddress, size) }
      }
      let end = unsafe buffer.withUnsafeBytes { unsafe walk($0, count, sequence, body) }
      switch end {
      case .more: continue
      case .complete: return true
      case .interrupted: return false
      case .failed(let code): throw SystemError("\(name)", errno: code)
      }
    }
  }

  private enum End {
    case more, complete, interrupted
    case failed(Int32)
  }

  private static func walk(
    _ buffer: UnsafeRawBufferPointer, _ count: Int, _ sequence: UInt32, _ body: (UnsafePointer<nlmsghdr>) -> Void
  ) -> End {
    var rest = Int32(count)
    var interrupted = false
    // SAFETY: mnl_nlmsg_ok checks that the message lies within the `rest` bytes before it is looked at.
    var message = unsafe buffer.baseAddress!.assumingMemoryBound(to: nlmsghdr.self)
    while unsafe mnl_nlmsg_ok(message, rest) {
      let header = unsafe message.pointee
      if header.nlmsg_flags & UInt16(NLM_F_DUMP_INTR) != 0 { interrupted = true }
      if header.nlmsg_seq == sequence {
        switch Int32(header.nlmsg_type) {
        case NLMSG_DONE: return interrupted ? .interrupted : .complete
        case NLMSG_ERROR:
          let code = unsafe mnl_nlmsg_get_payload(message)!.load(as: Int32.self)
          return .failed(-code)
        default: unsafe body(message)
        }
      }
      unsafe message = unsafe UnsafePointer(mnl_nlmsg_next(message, &rest)!)
    }
    return interrupted ? .interrupted : .more
  }

  /// Gives the attributes behind the fixed header of `message` with their types.
  static func attributes(
    of message: UnsafePointer<nlmsghdr>, after headerSize: Int, _ body: (Int, UnsafeRawBufferPointer) -> Void
  ) {
    let end = unsafe mnl_nlmsg_get_payload_tail(message)!
    var attribute = unsafe mnl_nlmsg_get_payload_offset(message, headerSize)!.assumingMemoryBound(to: nlattr.self)
    // SAFETY: mnl_attr_ok checks that the attribute lies before the message's end.
    while unsafe mnl_attr_ok(attribute, Int32(end - UnsafeMutableRawPointer(attribute))) {
      let payload = unsafe UnsafeRawBufferPointer(
        start: mnl_attr_get_payload(attribute), count: Int(mnl_attr_get_payload_len(attribute)))
      unsafe body(Int(mnl_attr_get_type(attribute)), payload)
      unsafe attribute = unsafe mnl_attr_next(attribute)!
    }
  }
}

/// Filters of the traffic control.
public enum TrafficFilters {
  /// Whether the interface's clsact qdisc has a filter, at ingress or egress.
  public static func exist(interface index: UInt32) throws(SystemError) -> Bool {
    var count = 0
    // TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS and TC_H_MIN_EGRESS), include/uapi/linux/pkt_sched.h.
    for parent: UInt32 in [0xffff_fff2, 0xffff_fff3] {
      var header = tcmsg()
      header.tcm_family = UInt8(AF_UNSPEC)
      header.tcm_ifindex = Int32(bitPattern: index)
      header.tcm_parent = parent
      let before = count
      try unsafe RouteNetlink.dump(
        "RTM_GETTFILTER", type: Int(RTM_GETTFILTER), header: header, reset: { count = before }, { _ in count += 1 })
    }
    return count > 0
  }
}
