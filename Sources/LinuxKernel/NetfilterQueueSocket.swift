// SPDX-License-Identifier: Apache-2.0

import CLinux
import Clibmnl
import Clibnetfilter_queue
import Glibc

/// The netlink socket of one NFQUEUE: opened, bound to the queue and configured.
@safe
struct NetfilterQueueSocket: ~Copyable {
  /// SOL_NETLINK, which Glibc's module lacks.
  private static let solNetlink: Int32 = 270
  private let socket: OpaquePointer
  let number: UInt16

  init(number: UInt16) throws(SystemError) {
    guard let socket = unsafe mnl_socket_open2(NETLINK_NETFILTER, Int32(SOCK_CLOEXEC.rawValue)) else {
      throw SystemError("socket", "NETLINK_NETFILTER", errno: errno)
    }
    unsafe self.socket = socket
    self.number = number
  }

  deinit { unsafe mnl_socket_close(socket) }

  var descriptor: Int32 { unsafe mnl_socket_get_fd(socket) }

  func configure(maximumLength: UInt32) throws(SystemError) {
    let descriptor = self.descriptor
    if unsafe mnl_socket_bind(socket, 0, pid_t(MNL_SOCKET_AUTOPID)) < 0 {
      throw SystemError("bind", errno: errno)
    }
    // A burst that overruns the socket loses packets, not the queue: ENOBUFS would only tell what the senders repair.
    try SocketOption.set(descriptor, NetfilterQueueSocket.solNetlink, Int32(NETLINK_NO_ENOBUFS), 1)
    try SocketOption.set(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    try unsafe request { header in
      unsafe nfq_nlmsg_cfg_put_cmd(header, UInt16(AF_INET), UInt8(NFQNL_CFG_CMD_BIND.rawValue))
    }
    try unsafe request { header in
      unsafe nfq_nlmsg_cfg_put_params(header, UInt8(NFQNL_COPY_PACKET.rawValue), 0xffff)
    }
    try unsafe request { header in unsafe nfq_nlmsg_cfg_put_qmaxlen(header, maximumLength) }
    let flags = try Syscall.call("fcntl") { fcntl(descriptor, F_GETFL) }
    _ = try Syscall.call("fcntl") { fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) }
  }

  /// Sends one configuration message and waits for its acknowledgment, an NLMSG_ERROR with 0 or the negative errno.
  private func request(_ put: (UnsafeMutablePointer<nlmsghdr>) -> Void) throws(SystemError) {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let number = self.number
    let socket = unsafe self.socket
    let result: Int32 = unsafe buffer.withUnsafeMutableBytes { bytes in
      let header = unsafe nfq_nlmsg_put(
        bytes.baseAddress!.assumingMemoryBound(to: CChar.self), Int32(NFQNL_MSG_CONFIG.rawValue), UInt32(number))!
      unsafe header.pointee.nlmsg_flags |= UInt16(NLM_F_ACK)
      unsafe put(header)
      if unsafe mnl_socket_sendto(socket, header, Int(header.pointee.nlmsg_len)) < 0 { return errno }
      let count = unsafe mnl_socket_recvfrom(socket, bytes.baseAddress, bytes.count)
      if count < 0 { return errno }
      let answer = unsafe bytes.baseAddress!.assumingMemoryBound(to: nlmsghdr.self)
      guard unsafe Int32(answer.pointee.nlmsg_type) == NLMSG_ERROR else { return EPROTO }
      return unsafe -mnl_nlmsg_get_payload(answer)!.assumingMemoryBound(to: nlmsgerr.self).pointee.error
    }
    if result != 0 { throw SystemError("configure", errno: result) }
  }
}
