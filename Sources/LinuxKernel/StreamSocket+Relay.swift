// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// For drivers that keep many sockets as bare descriptors in tables of trivial values: the table is the owner then.
extension StreamSocket {
  /// Gives the descriptor away: the caller must end it by one of the `close` functions below.
  public consuming func intoRaw() -> Int32 { descriptor.release() }

  /// Closes in the normal way: what is unsent is still sent, then FIN.
  public static func close(_ raw: Int32) { _ = OwnedDescriptor(owning: raw) }

  /// Closes with a reset; what is unsent is dropped (SO_LINGER with zero time).
  public static func closeWithReset(_ raw: Int32) {
    var value = linger(l_onoff: 1, l_linger: 0)
    // Fails only for descriptors that are no sockets.
    unsafe setsockopt(raw, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
    close(raw)
  }

  /// Closes without any packet: see `TCPRepair.closeSilently`.
  public static func closeSilently(_ raw: Int32) {
    TCPRepair.closeSilently(StreamSocket(owning: OwnedDescriptor(owning: raw)))
  }

  /// Reads at most `limit` bytes into the front of the buffer.
  public static func read(
    _ raw: Int32, into buffer: inout [UInt8], limit: Int
  ) throws(SystemError) -> ReadResult {
    let capacity = min(limit, buffer.count)
    precondition(capacity > 0)
    let count = try Syscall.callUnlessBlocked("recv") {
      unsafe buffer.withUnsafeMutableBytes { unsafe recv(raw, $0.baseAddress!, capacity, 0) }
    }
    guard let count else { return .wouldBlock }
    return count == 0 ? .endOfStream : .bytes(count)
  }

  /// Sends FIN once everything queued is sent.
  public static func shutdownWriting(_ raw: Int32) throws(SystemError) {
    _ = try Syscall.call("shutdown") { shutdown(raw, Int32(SHUT_WR)) }
  }

  /// TCP_NODELAY: a relay passes on what it gets when it gets it.
  public static func disableDelay(_ raw: Int32) {
    // Fails only for descriptors that are no TCP sockets.
    try? SocketOption.set(raw, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
  }

  /// SO_ERROR of a bare descriptor, which reading clears.
  public static func pendingError(_ raw: Int32, of call: String = "recv") -> SystemError? {
    guard let code = try? SocketOption.get(raw, SOL_SOCKET, SO_ERROR), code != 0 else { return nil }
    return SystemError(call, errno: code)
  }
}

extension SystemError {
  /// The socket was ended from outside by SOCK_DESTROY (`tcp_abort`).
  public var isAbort: Bool { errno == ECONNABORTED }
}
