// SPDX-License-Identifier: Apache-2.0

public import DispatcherCore
public import Rules
public import Wire

/// What a dispatcher needs to know.
public struct DispatcherConfiguration: Sendable {
  /// Where nodes connect; port 7000 by default. IPv4 0.0.0.0 or IPv6 :: is every address of the node.
  public var listen: Endpoint
  /// Node name, unique in the cluster.
  public var name: String
  /// Random number drawn at process start.
  public var instance: UInt64
  /// Policy, thresholds, table size, admission, slow start.
  public var parameters: DispatcherParameters
  /// What comes before the policy; `DispatcherRole.setRules` changes it later.
  public var rules: [Rule]
  /// Nanoseconds for which the thread asks for events again and again before it sleeps, while they come that fast; 0 for
  /// never, as on a machine of one processor.
  public var busyWait: UInt64
  /// Bytes that may wait for a peer that does not read; beyond them its connection is closed.
  public var peerQueueLimit: Int
  /// Control connections at a time; further ones are told so and closed.
  public var maximumPeers: Int

  public static let defaultPort: UInt16 = 7000

  public init(
    listen: Endpoint = Endpoint(IPAddress(ipv4: 0), DispatcherConfiguration.defaultPort), name: String,
    instance: UInt64 = UInt64.random(in: 1 ... .max), parameters: DispatcherParameters = DispatcherParameters(),
    rules: [Rule] = [], busyWait: UInt64 = 50_000, peerQueueLimit: Int = 8 << 20, maximumPeers: Int = 4096
  ) {
    self.listen = listen
    self.name = name
    self.instance = instance
    self.parameters = parameters
    self.rules = rules
    self.busyWait = busyWait
    self.peerQueueLimit = peerQueueLimit
    self.maximumPeers = maximumPeers
  }
}
