// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

/// Where packets of handed-off connections are forwarded.
public enum ForwardingHook: String, Sendable, Hashable, CaseIterable {
  /// At the driver where that is faster and the device's settings allow it, else at tc ingress.
  case auto
  /// At tc ingress, where everything else is done too.
  case tc
  /// At the driver (native XDP); it is an error when that cannot be.
  case xdp
}

/// Why packets are not forwarded at the driver.
public enum DriverObstacle: Error, Hashable, Sendable {
  /// The kernel does not tell what the driver can do.
  case unknownDriver
  case noNativeXDP(driver: String)
  /// The driver can, but tc takes less time.
  case notFaster(driver: String)
  /// The other end of a veth takes no redirected frames.
  case deafPeer
  /// The device takes VLAN tags off where a program at the driver cannot see them.
  case takesTagsOff
  /// Somebody else's program is there.
  case taken(program: String)
  /// A program is there, perhaps that of a predecessor, and this process may not look at it.
  case hidden
  /// The kernel takes the program or its attachment not.
  case refused(String)
}

extension DriverObstacle: CustomStringConvertible {
  public var description: String {
    switch self {
    case .unknownDriver: "the kernel does not tell whether the driver runs XDP programs; that needs Linux 6.3"
    case .noNativeXDP(let driver): "the driver \(driver) runs no XDP programs"
    case .notFaster(let driver): "that takes less processor time with the driver \(driver)"
    case .deafPeer: "the interface at the other end of this veth takes no redirected frames"
    case .takesTagsOff: "the device takes VLAN tags off, so that frames of other VLANs cannot be told apart"
    case .taken(let program): "an XDP program is there that is not this one (\(program))"
    case .hidden:
      "an XDP program is there, and without CAP_SYS_ADMIN nobody can tell whether a killed distributor left it"
    case .refused(let what): what
    }
  }

  /// What an operator can do about it.
  public var remedy: String {
    switch self {
    case .unknownDriver, .noNativeXDP, .notFaster, .refused: "Use --forwarding-hook tc, or auto"
    case .deafPeer: "Switch GRO on there (ethtool -K PEER gro on), or use --forwarding-hook tc"
    case .takesTagsOff: "Switch that off (ethtool -K INTERFACE rxvlan off), or use --forwarding-hook tc"
    case .hidden: "Remove it (ip link set dev INTERFACE xdp off), or give the process CAP_SYS_ADMIN"
    case .taken: "Remove it (ip link set dev INTERFACE xdp off), or use --forwarding-hook tc"
    }
  }
}

/// What counts for forwarding at the driver of an interface.
struct DriverFacts: Hashable, Sendable {
  /// Nil when the device has no name for it.
  var driver: String?
  /// Nil when the kernel does not tell.
  var features: DriverFeatures?
  var takesTagsOff: Bool
  /// Somebody else's XDP program.
  var stranger: String?

  var isVeth: Bool { driver == "veth" }

  /// Whether frames can leave by redirection.
  var canRedirect: Bool { features?.contains(.takesRedirected) ?? false }

  /// What stands against forwarding there; nil when nothing does.
  ///
  /// - Parameter isWanted: only what would be wrong counts, not what would be slow.
  func obstacle(isWanted: Bool) -> DriverObstacle? {
    guard let features else { return .unknownDriver }
    if !features.contains(.basic) { return .noNativeXDP(driver: driver ?? "of this device") }
    if isVeth, !isWanted { return .notFaster(driver: "veth") }
    if isVeth, !canRedirect { return .deafPeer }
    // At a veth it is the other end that keeps tags beside the frame (its txvlan), and that cannot be seen from here.
    if takesTagsOff, !isVeth { return .takesTagsOff }
    return stranger.map { .taken(program: $0) }
  }
}
