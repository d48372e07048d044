// SPDX-License-Identifier: Apache-2.0

public import Handoff
internal import Wire

/// How a node serves the connections that it is handed.
public enum ServeMode: String, Hashable, Sendable, CaseIterable {
  /// Direct where the kernel and the web server can do it, else by TCP_REPAIR and a relay.
  case auto
  /// The web server's own listener accepts the connections.
  case direct
  /// The agent recreates the connections with TCP_REPAIR and relays.
  case repair
}

/// Why one connection is relayed although the node serves directly.
public enum DirectObstacle: UInt8, Hashable, Sendable, CaseIterable {
  /// The client announced an MSS below 536 (IPv4) or 1220 (IPv6), the least that the kernel takes
  /// (`bpf_sk_assign_tcp_reqsk`).
  case smallSegments = 0
  /// What the client has sent does not fit one segment with its headers, or the window that the listener begins with.
  case longRequest = 1
  /// The client has a link-local address: the connection would be bound to `lo`, where its first segment appears.
  case linkLocalClient = 2
  /// The kernel refused the assignment; it gives no reason.
  case kernelRefused = 3
}

/// What the kernel takes directly.
public enum DirectLimits {
  /// Bytes of one synthetic segment: with the largest headers below 65,535, the longest packet and the least initial
  /// receive window (`tcp_select_initial_window`).
  public static var requestLimit: Int { 60_000 }
  public static var minimumSegmentIPv4: UInt16 { 536 }
  public static var minimumSegmentIPv6: UInt16 { 1220 }

  /// Why this connection cannot be served directly, nil when it can.
  public static func obstacle(_ snapshot: TCPSnapshot, requestBytes: Int) -> DirectObstacle? {
    let client = snapshot.flow.client.address
    if snapshot.maximumSegmentSize < (client.isIPv4 ? minimumSegmentIPv4 : minimumSegmentIPv6) {
      return .smallSegments
    }
    if requestBytes > requestLimit { return .longRequest }
    // fe80::/10
    if !client.isIPv4, client.high >> 54 == 0x3fa { return .linkLocalClient }
    return nil
  }
}

extension RelayEnd {
  /// How a connection of the web server ended, from the state that it was in and the error that it was left with.
  ///
  /// - Parameters:
  ///   - lastState: as in the kernel's tcp_states.h.
  ///   - error: `sk_err` as errno, 0 when nothing cut the connection.
  public init(lastState: UInt8, error: Int32) {
    switch (error, lastState) {
    // ECONNABORTED: SOCK_DESTROY.
    case (103, _): self = .aborted
    // ETIMEDOUT, EHOSTUNREACH, ENETUNREACH: no answer from the client.
    case (110, _), (113, _), (101, _): self = .timedOut
    // ECONNRESET, or EPIPE when the client had closed before (`tcp_reset`).
    case (1..., _): self = .clientReset
    // LAST_ACK: the client's end came first.
    case (_, 9): self = .clientClosedFirst
    // FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSING.
    case (_, 4), (_, 5), (_, 6), (_, 11): self = .serverClosedFirst
    // Closed with unread data, or with SO_LINGER of 0: a reset by the server.
    default: self = .serverReset
    }
  }
}
