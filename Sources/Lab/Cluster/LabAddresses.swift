// SPDX-License-Identifier: Apache-2.0

public import Wire

/// The address plan of every lab: a layer-2 network, 10.77.0.0/16 and fd77::/64. A plan with a router has two more,
/// 10.78.0.0/16 and fd78::/64, 10.79.0.0/16 and fd79::/64.
public enum LabAddresses {
  /// Own addresses of the nodes: 10.77.0.N and fd77::N.
  public static func node(_ number: Int, in network: LabNetwork = .near) -> Pair { Pair(network, group: 0, number) }
  /// Addresses that clients dial, one pair for each distributor: 10.77.1.N and fd77::1:N.
  public static func service(_ number: Int) -> Pair { Pair(.near, group: 1, number) }
  /// Addresses that clients dial from: 10.77.2.N and fd77::2:N.
  public static func client(_ number: Int, in network: LabNetwork = .near) -> Pair { Pair(network, group: 2, number) }
  /// The router in each network: 10.77.3.1 and fd77::3:1.
  public static func router(in network: LabNetwork) -> Pair { Pair(network, group: 3, 1) }

  /// The IPv4 and the IPv6 address of one thing.
  public struct Pair: Hashable, Sendable {
    public let ipv4: IPAddress
    public let ipv6: IPAddress

    init(_ network: LabNetwork, group: Int, _ number: Int) {
      precondition((1...254).contains(number))
      ipv4 = IPAddress(ipv4: (0x0a4d + UInt32(network.rawValue)) << 16 | UInt32(group) << 8 | UInt32(number))
      ipv6 = IPAddress(high: (0xfd77 + UInt64(network.rawValue)) << 48, low: UInt64(group) << 16 | UInt64(number))
    }
  }

  static let prefixLength4 = 16
  static let prefixLength6 = 64
}
