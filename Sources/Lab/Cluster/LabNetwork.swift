// SPDX-License-Identifier: Apache-2.0

/// One of the layer-2 networks of a lab.
public enum LabNetwork: Int, Sendable, CaseIterable {
  /// Dispatcher and distributors are here, and everything else when the plan has no router.
  case near
  /// Server nodes behind the router.
  case far
  /// Clients behind the router.
  case clients

  var bridge: String { "br\(rawValue)" }
  /// The router's interface in this network, and its port at the bridge.
  var routerInterface: String { "leg\(rawValue)" }
  /// IPv4 and IPv6.
  var prefixes: [String] { ["10.\(77 + rawValue).0.0/16", "fd\(77 + rawValue)::/64"] }
}

/// A router between the networks of a lab: it forwards both families, one hop, and tells senders of packets that do not
/// fit on the next link.
public struct LabRouter: Sendable {
  /// The MTU of everything in the far network, in bytes.
  public var farMTU = 1500
  /// The MTU of a link that lies beyond the router on the way to the clients, in bytes: they themselves see 1500.
  public var clientPathMTU = 1500

  public init() {}
}
