// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// What a device does to packets before the node sees them.
public enum InterfaceOffloads {
  /// Whether the device joins received segments so that they cannot be told apart any more (large receive offload): such
  /// packets cannot be forwarded. False for devices that know no such thing.
  public static func hasLargeReceive(_ interface: String) -> Bool { has(largeReceive, interface) }

  /// Whether the device takes VLAN tags off received frames and reports them beside the frame. False for devices that know
  /// no such thing.
  public static func takesTagsOff(_ interface: String) -> Bool { has(receivedTags, interface) }

  /// The name of the device's driver; nil for devices that know no such thing, such as `lo`.
  public static func driver(_ interface: String) -> String? {
    guard let socket = try? control() else { return nil }
    let raw = socket.raw
    var name = [CChar](repeating: 0, count: 32)
    let result = unsafe name.withUnsafeMutableBufferPointer { name in
      unsafe clinux_ethtool_driver(raw, interface, name.baseAddress)
    }
    guard result == 0 else { return nil }
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  // ETH_FLAG_LRO and ETH_FLAG_RXVLAN (include/uapi/linux/ethtool.h).
  private static let largeReceive: UInt32 = 1 << 15
  private static let receivedTags: UInt32 = 1 << 8

  private static func has(_ flag: UInt32, _ interface: String) -> Bool {
    guard let socket = try? control() else { return false }
    let raw = socket.raw
    var flags: UInt32 = 0
    guard unsafe clinux_ethtool_flags(raw, interface, &flags) == 0 else { return false }
    return flags & flag != 0
  }

  /// Any socket will do for device requests.
  private static func control() throws(SystemError) -> OwnedDescriptor {
    let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    return OwnedDescriptor(owning: try Syscall.call("socket") { Glibc.socket(AF_INET, type, 0) })
  }
}
