// SPDX-License-Identifier: Apache-2.0

import CLinux
import Clibmnl
import Glibc
public import Wire

/// A TCP socket as sock_diag(7) sees it, named so exactly that ending it can hit no other one.
public struct DiagnosedSocket: Hashable, Sendable, BitwiseCopyable {
  public var local: Endpoint
  public var remote: Endpoint
  /// A FIN_WAIT2 of which only the short form is left shows as `.finWait2`, like the long form.
  public var state: TCPState
  /// False when no process holds the socket: the kernel alone ends it.
  public var hasOwner: Bool
  public var cookie: UInt64
}

extension NetlinkSocket {
  /// The socket of exactly this 4-tuple in the network namespace, of whatever state; nil when there is none. The kernel's
  /// lookup falls back to a listener of the local address: that counts as none.
  public mutating func tcpSocket(local: Endpoint, remote: Endpoint) throws(SystemError) -> DiagnosedSocket? {
    let request = NetlinkRequest(type: SOCK_DIAG_BY_FAMILY, flags: 0)
    request.putHeader(NetlinkSocket.requestHeader(local, remote, cookie: ~0))
    var found: DiagnosedSocket?
    do {
      try exchange(request, call: "SOCK_DIAG_BY_FAMILY", single: true) { reply in
        // struct inet_diag_msg: family, state, timer, retrans, then inet_diag_sockid of 48 bytes (cookie last), expires,
        // rqueue, wqueue, uid, inode.
        let state = TCPState(rawValue: reply.native(at: 1)) ?? .close
        if state == .listen { return }
        found = DiagnosedSocket(
          local: local, remote: remote, state: state, hasOwner: reply.native(at: 68, as: UInt32.self) != 0,
          cookie: reply.native(at: 44))
      }
    } catch {
      if error.errno == ENOENT { return nil }
      throw error
    }
    return found
  }

  /// Ends a socket (SOCK_DESTROY): TIME_WAIT and FIN_WAIT2 vanish silently, a live connection is reset and its owner gets
  /// ECONNABORTED.
  ///
  /// - Throws: ENOENT when it is gone already, EOPNOTSUPP when the kernel lacks CONFIG_INET_DIAG_DESTROY, EPERM without
  ///   CAP_NET_ADMIN.
  public mutating func destroy(_ socket: DiagnosedSocket) throws(SystemError) {
    // Never without the cookie: the lookup by tuple could find the listener.
    let request = NetlinkRequest(type: SOCK_DESTROY, flags: NLM_F_ACK)
    request.putHeader(NetlinkSocket.requestHeader(socket.local, socket.remote, cookie: socket.cookie))
    try exchange(request, call: "SOCK_DESTROY")
  }

  private static func requestHeader(_ local: Endpoint, _ remote: Endpoint, cookie: UInt64) -> inet_diag_req_v2 {
    var header = inet_diag_req_v2()
    header.sdiag_family = local.address.family
    header.sdiag_protocol = UInt8(IPPROTO_TCP)
    header.idiag_states = ~0
    header.id.idiag_sport = local.port.bigEndian
    header.id.idiag_dport = remote.port.bigEndian
    unsafe withUnsafeMutableBytes(of: &header.id.idiag_src) { unsafe $0.copyBytes(from: local.address.networkBytes) }
    unsafe withUnsafeMutableBytes(of: &header.id.idiag_dst) { unsafe $0.copyBytes(from: remote.address.networkBytes) }
    header.id.idiag_cookie = (
      UInt32(truncatingIfNeeded: cookie), UInt32(truncatingIfNeeded: cookie >> 32)
    )
    return header
  }
}
