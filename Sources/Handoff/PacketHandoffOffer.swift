// SPDX-License-Identifier: Apache-2.0

/// How a server node takes handoffs that come in one packet (`HandoffPacket`).
public struct PacketHandoffOffer: Hashable, Sendable, BitwiseCopyable {
  /// UDP, at the node's internal address.
  public var port: UInt16
  public var key: HandoffPacketKey
  /// The agent's event loop that has this control connection.
  public var loop: UInt8
  /// Connections of which address families are taken.
  public var takesIPv4: Bool
  public var takesIPv6: Bool

  public init(port: UInt16, key: HandoffPacketKey, loop: UInt8, takesIPv4: Bool, takesIPv6: Bool) {
    self.port = port
    self.key = key
    self.loop = loop
    self.takesIPv4 = takesIPv4
    self.takesIPv6 = takesIPv6
  }

  public func takes(isIPv4: Bool) -> Bool { isIPv4 ? takesIPv4 : takesIPv6 }
}
