// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// What a device does to packets before the node sees them.
public enum InterfaceOffloads {
  /// Whether the device joins received segments so that they cannot be told apart any more (large receive offload): such
  /// packets cannot be forwarded. False for devices that know no such thing.
  public static func hasLargeReceive(_ interface: String) -> Bool {
    let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    guard let descriptor = try? Syscall.call("socket", { Glibc.socket(AF_INET, type, 0) }) else { return false }
    let socket = OwnedDescriptor(owning: descriptor)
    let raw = socket.raw
    var flags: UInt32 = 0
    guard unsafe clinux_ethtool_flags(raw, interface, &flags) == 0 else { return false }
    // ETH_FLAG_LRO (include/uapi/linux/ethtool.h).
    return flags & 1 << 15 != 0
  }
}
