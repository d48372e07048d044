// SPDX-License-Identifier: Apache-2.0

import CLinux
import Clibmnl
import Glibc
public import Wire

/// A listening TCP socket.
public struct TCPListener: Hashable, Sendable {
  public var local: Endpoint
  /// A listener at `[::]` that takes no IPv4 connections.
  public var isIPv6Only: Bool
  /// The listener of an MPTCP socket: it takes no connection by `bpf_sk_assign_tcp_reqsk`.
  public var isMultipath: Bool

  /// Whether the kernel's lookup gives this listener connections to `address`, apart from the port.
  public func takes(_ address: IPAddress) -> Bool {
    if local.address == address { return true }
    guard local.address.isUnspecified else { return false }
    return local.address.isIPv4 == address.isIPv4 || (address.isIPv4 && !isIPv6Only)
  }
}

extension IPAddress {
  /// `0.0.0.0` or `::`.
  public var isUnspecified: Bool { isIPv4 ? ipv4Bits == 0 : high == 0 && low == 0 }
}

extension NetlinkSocket {
  /// Every connection whose local port is `port`, of both families, without listeners and without what is in TIME_WAIT.
  public mutating func tcpSockets(localPort port: UInt16) throws(SystemError) -> [DiagnosedSocket] {
    // Handshakes that are not over have no socket of their own yet.
    let states =
      ~UInt32(1 << TCPState.listen.rawValue | 1 << TCPState.timeWait.rawValue)
      & ~UInt32(1 << TCPState.newSynReceived.rawValue | 1 << TCPState.synReceived.rawValue)
    var found: [DiagnosedSocket] = []
    try dump(port, states) { reply in
      guard let (local, remote) = NetlinkSocket.endpoints(of: reply) else { return }
      found.append(
        DiagnosedSocket(
          local: local, remote: remote, state: TCPState(rawValue: reply.native(at: 1)) ?? .close,
          hasOwner: reply.native(at: 68, as: UInt32.self) != 0, cookie: reply.native(at: 44)))
    }
    return found
  }

  /// Every listener at `port`, of both families. Whether one is of MPTCP shows only with CAP_NET_ADMIN.
  public mutating func tcpListeners(port: UInt16) throws(SystemError) -> [TCPListener] {
    var found: [TCPListener] = []
    // The kernel tells of protocols above TCP only to those who ask for INET_DIAG_INFO (inet_sk_diag_fill()).
    try dump(port, 1 << TCPState.listen.rawValue, extensions: 1 << (2 - 1)) { reply in
      guard let (local, _) = NetlinkSocket.endpoints(of: reply) else { return }
      // INET_DIAG_SKV6ONLY and INET_DIAG_ULP_INFO, with INET_ULP_INFO_NAME in it (include/uapi/linux/inet_diag.h).
      let attributes = reply.attributes(after: 72)
      let onlyIPv6 = attributes[11].map { reply.native(at: $0.lowerBound, as: UInt8.self) != 0 } ?? false
      let protocols = attributes[19].map { String(decoding: reply.body[$0], as: UTF8.self) } ?? ""
      found.append(TCPListener(local: local, isIPv6Only: onlyIPv6, isMultipath: protocols.contains("mptcp")))
    }
    return found
  }

  private mutating func dump(
    _ port: UInt16, _ states: UInt32, extensions: UInt8 = 0, _ body: (NetlinkReply) -> Void
  ) throws(SystemError) {
    for family in [AF_INET, AF_INET6] {
      let request = NetlinkRequest(type: SOCK_DIAG_BY_FAMILY, flags: NLM_F_DUMP)
      var header = inet_diag_req_v2()
      header.sdiag_family = UInt8(family)
      header.sdiag_protocol = UInt8(IPPROTO_TCP)
      header.idiag_ext = extensions
      header.idiag_states = states
      header.id.idiag_sport = port.bigEndian
      request.putHeader(header)
      try exchange(request, call: "SOCK_DIAG_BY_FAMILY") { reply in
        // A dump by family still gives every port on kernels that do not filter.
        if reply.native(at: 4, as: UInt16.self) == port.bigEndian { body(reply) }
      }
    }
  }

  /// struct inet_diag_msg: family, then at 4 inet_diag_sockid with two ports and two addresses of 16 bytes.
  private static func endpoints(of reply: NetlinkReply) -> (local: Endpoint, remote: Endpoint)? {
    let length = reply.native(at: 0, as: UInt8.self) == UInt8(AF_INET) ? 4 : 16
    guard reply.body.count >= 72, let local = reply.address(8..<8 + length),
      let remote = reply.address(24..<24 + length)
    else { return nil }
    return (
      Endpoint(local, UInt16(bigEndian: reply.native(at: 4))), Endpoint(remote, UInt16(bigEndian: reply.native(at: 6)))
    )
  }
}
