// SPDX-License-Identifier: Apache-2.0

public import Wire

/// The address plan of every lab: one layer-2 network, 10.77.0.0/16 and fd77::/64.
public enum LabAddresses {
  /// Own addresses of the nodes: 10.77.0.N and fd77::N.
  public static func node(_ number: Int) -> Pair { Pair(group: 0, number) }
  /// Addresses that clients dial, one pair for each distributor: 10.77.1.N and fd77::1:N.
  public static func service(_ number: Int) -> Pair { Pair(group: 1, number) }
  /// Addresses that clients dial from: 10.77.2.N and fd77::2:N.
  public static func client(_ number: Int) -> Pair { Pair(group: 2, number) }

  /// The IPv4 and the IPv6 address of one thing.
  public struct Pair: Hashable, Sendable {
    public let ipv4: IPAddress
    public let ipv6: IPAddress

    init(group: Int, _ number: Int) {
      precondition((1...254).contains(number))
      ipv4 = IPAddress(ipv4: 0x0a4d_0000 | UInt32(group) << 8 | UInt32(number))
      ipv6 = IPAddress(high: 0xfd77 << 48, low: UInt64(group) << 16 | UInt64(number))
    }
  }

  static let prefixLength4 = 16
  static let prefixLength6 = 64
}
