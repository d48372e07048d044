// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
public import Wire

/// A connection to a local server that leaves from an address of somebody else, so that the server sees the client's own
/// address and port as its peer. The way back must be routed to this node: see `NetlinkSocket.add(_: RoutingRule)`.
public enum TransparentSocket {
  /// What a connect that does not wait has come to.
  public enum Progress: Hashable, Sendable {
    case established
    /// The handshake is not over, for example because the accept queue is full: writability tells the end.
    case underWay
  }

  public struct Attempt: ~Copyable {
    public let socket: StreamSocket
    public let progress: Progress

    public consuming func take() -> StreamSocket { socket }
  }

  /// Connects from `source` to `server` without waiting. Over loopback the handshake is normally over at return.
  ///
  /// - Throws: EADDRNOTAVAIL when the 4-tuple is in use (TIME_WAIT included), ECONNREFUSED when nobody listens, EMFILE or
  ///   ENFILE at the descriptor limit, EPERM without CAP_NET_ADMIN or CAP_NET_RAW.
  public static func connect(from source: Endpoint, to server: Endpoint) throws(SystemError) -> Attempt {
    let socket = try StreamSocket(familyOf: source.address)
    if source.address.isIPv4 {
      try socket.set(Int32(IPPROTO_IP), Int32(clinux_IP_TRANSPARENT), 1)
    } else {
      try socket.set(Int32(IPPROTO_IPV6), Int32(clinux_IPV6_TRANSPARENT), 1)
    }
    try socket.set(SOL_SOCKET, SO_REUSEADDR, 1)
    do {
      try socket.bind(to: source)
    } catch {
      guard error.errno == EADDRINUSE else { throw error }
      // A listener of this node has the client's port number at the wildcard address. Repair mode forces reuse
      // (SK_FORCE_REUSE); it is left before the handshake, which shall be a real one.
      try TCPRepair.set(socket.raw, clinux_TCP_REPAIR, 1)
      try socket.bind(to: source)
      try TCPRepair.set(socket.raw, clinux_TCP_REPAIR, TCPRepair.leaveWithoutProbe)
      try socket.set(SOL_SOCKET, SO_REUSEADDR, 1)
    }
    try socket.connect(to: server)
    return Attempt(progress: try progress(of: socket.raw), adopting: socket)
  }

  /// What became of a connect under way.
  ///
  /// - Throws: the error of the connect.
  public static func progress(of socket: Int32) throws(SystemError) -> Progress {
    switch try TCPInformation(of: socket).state {
    case .synSent, .synReceived: return .underWay
    case .close: throw StreamSocket.pendingError(socket, of: "connect") ?? SystemError("connect", errno: ECONNREFUSED)
    default: return .established
    }
  }
}

extension TransparentSocket.Attempt {
  init(progress: TransparentSocket.Progress, adopting socket: consuming StreamSocket) {
    self.socket = socket
    self.progress = progress
  }
}

extension StreamSocket {
  /// The peer's endpoint.
  public func remoteEndpoint() throws(SystemError) -> Endpoint {
    let raw = self.raw
    var address = SocketAddress()
    _ = try Syscall.call("getpeername") { unsafe address.withMutablePointer { unsafe getpeername(raw, $0, $1) } }
    guard let endpoint = address.endpoint else { throw SystemError("getpeername", errno: EAFNOSUPPORT) }
    return endpoint
  }
}
