// SPDX-License-Identifier: Apache-2.0

import Clibmnl
import Glibc

/// What a device's driver can do for XDP programs (enum netdev_xdp_act, Linux 6.3).
public struct DriverFeatures: OptionSet, Hashable, Sendable, BitwiseCopyable {
  public let rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Runs programs, and XDP_TX of theirs.
  public static let basic = DriverFeatures(rawValue: 1)
  /// Takes frames that a program redirects to the device. A veth does while the interface at its other end has GRO or a
  /// program.
  public static let takesRedirected = DriverFeatures(rawValue: 4)
}

extension NetlinkSocket {
  /// What the driver of an interface can do; for a socket of `.generic`. Needs no capability.
  ///
  /// - Throws: ENOENT when the kernel does not tell (before 6.3), ENODEV when there is no such interface.
  public mutating func driverFeatures(interface index: UInt32) throws(SystemError) -> DriverFeatures {
    // GENL_ID_CTRL; CTRL_CMD_GETFAMILY; CTRL_ATTR_FAMILY_NAME, CTRL_ATTR_FAMILY_ID (include/uapi/linux/genetlink.h).
    let families = NetlinkRequest(type: 0x10, flags: 0)
    families.putHeader(GenericHeader(command: 3))
    families.put(2, "netdev")
    var family: UInt16?
    try exchange(families, call: "CTRL_CMD_GETFAMILY", single: true) { reply in
      family = reply.attributes(after: GenericHeader.size)[1].map { reply.native(at: $0.lowerBound) }
    }
    guard let family else { throw SystemError("CTRL_CMD_GETFAMILY", "netdev", errno: ENOENT) }
    // NETDEV_CMD_DEV_GET; NETDEV_A_DEV_IFINDEX, NETDEV_A_DEV_XDP_FEATURES (include/uapi/linux/netdev.h).
    let request = NetlinkRequest(type: Int32(family), flags: 0)
    request.putHeader(GenericHeader(command: 1))
    request.put(1, index)
    var features = DriverFeatures()
    try exchange(request, call: "NETDEV_CMD_DEV_GET", single: true) { reply in
      guard let range = reply.attributes(after: GenericHeader.size)[3] else { return }
      features = DriverFeatures(rawValue: reply.native(at: range.lowerBound))
    }
    return features
  }
}

/// struct genlmsghdr
private struct GenericHeader: BitwiseCopyable {
  var command: UInt8
  var version: UInt8 = 1
  var reserved: UInt16 = 0

  static let size = MemoryLayout<GenericHeader>.size
}
